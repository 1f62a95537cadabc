import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { openFile, type InnerProcess } from "@bpfleet/native/testing";
import type { PodCgroup } from "../filter/intent.ts";
import { startPodNode, type PodNode } from "../testing/pod-node.ts";
import type { DevicesIntent } from "./intent.ts";

type Device = readonly [type: "char" | "block", major: number, minor: number | undefined];

const nullDevice: Device = ["char", 1, 3];
const zeroDevice: Device = ["char", 1, 5];
const anyPts: Device = ["char", 136, undefined];

function allow(name: string, pods: readonly PodCgroup[], ...devices: readonly Device[]): DevicesIntent {
  const origin = { object: { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name }, path: "" };
  const allowed = devices.map(([type, major, minor]) => ({
    type,
    major,
    minor,
    text: `${type} ${major}:${minor ?? "*"}`,
    origin,
  }));
  return { feature: "devices", origin, pods, priority: 10, allowed };
}

/** What making a node says. */
function makeNode(inner: InnerProcess, path: string, kind: "b" | "c", major: number, minor: number): Promise<string> {
  return inner.run(
    ({ path, kind, major, minor }) => {
      const { spawnSync } = process.getBuiltinModule("node:child_process");
      const { status, stderr } = spawnSync("mknod", [path, kind, String(major), String(minor)], { encoding: "utf8" });
      return status === 0 ? "" : stderr.trim().replace(/^.*: /, "");
    },
    { path, kind, major, minor },
  );
}

async function counts(node: PodNode, object: string, pod: string): Promise<Record<string, number>> {
  const counters = (await node.counters()).get(`devices/default/${object}/default/${pod}`);
  const rules = (counters?.rules ?? []).map(({ rule, counter }) => [rule.text, Number(counter.packets)] as const);
  const gauges = Object.entries(counters?.gauges ?? {}).map(([name, value]) => [name, Number(value)] as const);
  return Object.fromEntries([...gauges, ...rules]);
}

describe("devices", async () => {
  const node = await startPodNode(afterEach);
  if (node === undefined) return it("decides which devices pods open", { skip: "no cgroup v2" });
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  });

  /** A folder with a node for a device that no pod is given. */
  function kernelLog(): { readonly folder: string; readonly log: string } {
    const folder = mkdtempSync(join(tmpdir(), "bpft-devices-"));
    folders.push(folder);
    execFileSync("mknod", [join(folder, "kmsg"), "c", "1", "11"]);
    return { folder, log: join(folder, "kmsg") };
  }

  it("lets a process open what is on the list, and refuses all else with EPERM", async () => {
    const pod = node.pod("a");
    const { log } = kernelLog();
    await node.apply(allow("d", [pod], nullDevice, anyPts));
    const [inside, outside] = [await node.process(pod), await node.process()];
    assert.deepEqual(await counts(node, "d", "a"), {
      devices_allowed: 0,
      devices_refused: 0,
      "char 1:3": 0,
      "char 136:*": 0,
    });
    for (let times = 0; times < 3; times++) assert.equal(await openFile(inside, "/dev/null"), "");
    assert.equal(await openFile(inside, "/dev/zero"), "EPERM");
    assert.equal(await openFile(inside, log), "EPERM");
    assert.equal(await openFile(outside, log), "");
    assert.deepEqual(await counts(node, "d", "a"), {
      devices_allowed: 3,
      devices_refused: 2,
      "char 1:3": 3,
      "char 136:*": 0,
    });
  });

  it("lets a process make only the nodes that it may open", async () => {
    const pod = node.pod("a");
    const { folder } = kernelLog();
    await node.apply(allow("d", [pod], nullDevice, ["block", 7, undefined]));
    const inside = await node.process(pod);
    assert.equal(await makeNode(inside, join(folder, "null"), "c", 1, 3), "");
    assert.equal(await makeNode(inside, join(folder, "log"), "c", 1, 11), "Operation not permitted");
    assert.equal(await makeNode(inside, join(folder, "loop5"), "b", 7, 5), "");
    assert.equal(await makeNode(inside, join(folder, "ram"), "b", 1, 3), "Operation not permitted");
    assert.equal(await makeNode(inside, join(folder, "char7"), "c", 7, 5), "Operation not permitted");
    const { devices_refused, "block 7:*": loops } = await counts(node, "d", "a");
    assert.deepEqual([devices_refused, loops], [3, 1]);
  });

  it("counts each pod for itself", async () => {
    const [a, b] = [node.pod("a"), node.pod("b")];
    await node.apply(allow("d", [a, b], nullDevice));
    const [inA, inB] = [await node.process(a), await node.process(b)];
    await openFile(inA, "/dev/null");
    await openFile(inB, "/dev/zero");
    await openFile(inB, "/dev/zero");
    assert.deepEqual(await counts(node, "d", "a"), { devices_allowed: 1, devices_refused: 0, "char 1:3": 1 });
    assert.deepEqual(await counts(node, "d", "b"), { devices_allowed: 0, devices_refused: 2, "char 1:3": 0 });
  });

  it("takes a longer list over in one step and keeps what was counted", async () => {
    const pod = node.pod("a");
    await node.apply(allow("d", [pod], nullDevice));
    const inside = await node.process(pod);
    await openFile(inside, "/dev/null");
    assert.equal(await openFile(inside, "/dev/zero"), "EPERM");
    await node.apply(allow("d", [pod], zeroDevice, nullDevice));
    assert.equal(await openFile(inside, "/dev/zero"), "");
    await openFile(inside, "/dev/null");
    assert.deepEqual(await counts(node, "d", "a"), {
      devices_allowed: 3,
      devices_refused: 1,
      "char 1:3": 2,
      "char 1:5": 1,
    });
  });

  it("needs every object to allow a device, on the pod's cgroup and on those above it", async () => {
    const outer = node.pod("outer");
    const inner = node.pod("outer/inner");
    await node.apply(
      allow("wide", [inner], nullDevice, zeroDevice, ["char", 1, 9]),
      allow("narrow", [inner], nullDevice, zeroDevice),
      allow("above", [outer], nullDevice, ["char", 1, 9]),
    );
    const inside = await node.process(inner);
    const answers: string[] = [];
    for (const path of ["/dev/null", "/dev/zero", "/dev/urandom"]) answers.push(await openFile(inside, path));
    assert.deepEqual(answers, ["", "EPERM", "EPERM"]);
    await node.apply(allow("narrow", [inner], nullDevice, zeroDevice));
    assert.equal(await openFile(inside, "/dev/zero"), "");
    await node.apply();
    assert.equal(await openFile(inside, "/dev/urandom"), "");
  });
});
