import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, test } from "node:test";
import { Records } from "@bpfleet/agent";
import { renderTime } from "@bpfleet/base";
import { kinds } from "@bpfleet/kinds";
import { CommandBench, type CommandRun } from "../testing/run-command.ts";

let bench: CommandBench;
beforeEach(() => {
  bench = new CommandBench();
});
afterEach(() => bench[Symbol.dispose]());

const config = `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata:
  name: xdp-pass-all-nodes
spec:
  name: pass
  type: XDP
  nodeselector: {}
  priority: 7
  attachpoint:
    interface: eth0
  bytecode:
    imageurl: quay.io/bpfd-bytecode/xdp_pass:latest
`;
const program = `apiVersion: bpfd.io/v1alpha1
kind: BpfProgram
metadata:
  name: xdp-pass-all-nodes-node
spec:
  programs: {}
`;

const noAgent = /^warning: .*\n/gm;
const told = (run: CommandRun): string => `${run.out}${run.err.replaceAll(noAgent, "")}`;

async function make(from: string): Promise<void> {
  const records = new Records(bench.env.BPFLEET_STATE);
  const uid = "384d3d5c-e62b-4be3-9bf0-c6cf0e315acf";
  const now = renderTime(bench.nowMs);
  const maps = { stats: "/run/bpfd/fs/maps/bdeac6d3-4128-464e-9161-6010684eca27/stats" };
  const condition = { type: "Loaded", status: "True", reason: "bpfdLoaded", message: "m", lastTransitionTime: now };
  await records.save({
    ref: { group: "bpfd.io", kind: "BpfProgram", namespace: "", name: `${from}-node` },
    uid,
    creationTimestamp: now,
    generation: 1,
    resourceVersion: "1",
    spec: "",
    state: "in-force",
    messages: [],
    status: { conditions: [condition] },
    events: [],
    made: {
      from: { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name: from },
      object: {
        apiVersion: "bpfd.io/v1alpha1",
        kind: "BpfProgram",
        metadata: { name: `${from}-node`, labels: { owningConfig: from }, uid, creationTimestamp: now },
        spec: {
          programs: { "bdeac6d3-4128-464e-9161-6010684eca27": { attachpoint: { interface: "eth0" }, maps } },
        },
      },
    },
  });
}

test("get shows configs as bpfd's own helper did, and what was made of them", async () => {
  assert.equal(
    told(await bench.run(["apply", "-f", "-"], config)),
    "bpfprogramconfig.bpfd.io/xdp-pass-all-nodes created\n",
  );
  assert.equal(
    told(await bench.run(["get", "bpfprogramconfigs"])),
    "NAME                 TYPE   SECNAME   STATUS   INTERFACE   PRIORITY   DIRECTION   TRACEPOINT\n" +
      "xdp-pass-all-nodes   XDP    pass               eth0        7\n",
  );
  assert.equal(told(await bench.run(["get", "bpfprograms"])), "No resources found\n");
  await make("xdp-pass-all-nodes");
  await make("somebody-else");
  assert.equal(
    told(await bench.run(["get", "bpfprograms"])),
    "NAME                      CONFIG               STATUS   INTERFACE   AGE\n" +
      "xdp-pass-all-nodes-node   xdp-pass-all-nodes   Loaded   eth0        0s\n",
  );
  assert.match(
    told(await bench.run(["describe", "bpfprogram", "xdp-pass-all-nodes-node"])),
    /Stats: +\/run\/bpfd\/fs\/maps/,
  );
  assert.match(
    told(await bench.run(["get", "bpfprograms", "-l", "owningConfig=xdp-pass-all-nodes", "-o", "name"])),
    /^bpfprogram\.bpfd\.io\/xdp/,
  );
});

test("apply and delete refuse what is made, and say what to write", async () => {
  const reason =
    "BpfProgram objects are for reading: bpfleet makes one of each BpfProgramConfig, and removes it with that; write or delete the BpfProgramConfig";
  for (const command of ["apply", "delete"]) {
    const run = await bench.run([command, "-f", "-"], program);
    assert.equal(run.exitCode, 1);
    assert.ok(run.err.includes(`:2:1: error: kind: ${reason}`), run.err);
  }
  await bench.run(["apply", "-f", "-"], config);
  await make("xdp-pass-all-nodes");
  const byName = await bench.run(["delete", "bpfprogram", "xdp-pass-all-nodes-node"]);
  assert.equal(byName.exitCode, 1);
  assert.ok(byName.err.includes(reason), byName.err);
  assert.equal(
    told(await bench.run(["delete", "all", "--all"])),
    'bpfprogramconfig.bpfd.io "xdp-pass-all-nodes" deleted\n',
  );
  assert.equal(told(await bench.run(["get", "bpfprograms"])), "No resources found\n");
});

test("describe says of a Secret how long its values are, not what they are", async () => {
  const text = readFileSync(
    `${import.meta.dirname}/../../../../packages/kinds/src/core/secret/samples/regcred.yaml`,
    "utf8",
  );
  await bench.run(["apply", "-f", "-"], text);
  const run = await bench.run(["describe", "secret", "regcred", "-n", "bpfd"]);
  assert.match(run.out, /\.dockerconfigjson: +90 bytes\n/);
  assert.doesNotMatch(run.out, /auths/);
});

test("kinds that are made say of which they are", () => {
  const made = kinds.flatMap(({ kind, madeFrom }) => (madeFrom === undefined ? [] : [`${kind} of ${madeFrom}`]));
  assert.deepEqual(made, ["BpfProgram of BpfProgramConfig", "EbpfProgram of EbpfProgramConfig", "NodeState of Node"]);
});
