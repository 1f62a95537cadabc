import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { bytecodeAbsence, BytecodeNode } from "./bytecode-node.ts";

const ebpfctl = join(import.meta.dirname, "../../bin/ebpfctl");

const config = `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: {name: once}
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: {networkmultiattach: {interface: eth0, priority: 5}}
  bytecode: {image: {url: "quay.io/bpfd-bytecode/once:latest"}}
`;

test("ebpfctl up --once waits for images, says which have not come in time, and leaves what came in force", async (context) => {
  if (bytecodeAbsence !== undefined) return context.skip(bytecodeAbsence);
  await using bytecode = await BytecodeNode.make();
  const { node } = bytecode;
  bytecode.ip("link", "set", "lo", "up");
  await bytecode.push("quay.io/bpfd-bytecode/once:latest", bytecode.image([], "pass"));
  await node.apply(config);
  const once = (...flags: readonly string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync("nsenter", [`--net=/run/netns/${node.netns}`, ebpfctl, "up", "--once", "--log", "error", ...flags], {
      env: node.environment,
      encoding: "utf8",
    });
  const early = once("--timeout", "0ms");
  assert.equal(early.status, 1, early.stdout + early.stderr);
  assert.match(
    early.stderr,
    /quay\.io\/bpfd-bytecode\/once:latest is still being fetched after 0ms; give a longer --timeout/,
  );
  const { status, stdout, stderr } = once();
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /1 in-force/);
  assert.match(bytecode.ip("link", "show", "eth0"), /xdp/);
  assert.equal(bytecode.ping(2), 2);
});
