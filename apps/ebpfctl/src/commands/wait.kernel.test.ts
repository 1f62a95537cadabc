import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { NodeBench } from "../testing/node-bench.ts";

const samples = join(import.meta.dirname, "../../../../packages/kinds/src/networking.fos1.io");
const programFile = join(samples, "ebpfprogram/samples/xdp-packet-filter.yaml");
const resource = "ebpfprogram/xdp-packet-filter";
const one = "ebpfprogram.networking.fos1.io/xdp-packet-filter condition met\n";

let bench: NodeBench;

before(async () => {
  bench = await NodeBench.start();
  await bench.spawn("up").says(/^ready in /m);
});
after(() => bench[Symbol.asyncDispose]());

test("wait says which objects come, have a condition, and are gone", async () => {
  const coming = bench.run("wait", "--for=create", resource, "--timeout=30s");
  await bench.do("apply", "-f", programFile);
  assert.deepEqual(await coming, { exitCode: 0, out: one, err: "" });
  assert.equal(await bench.do("wait", "--for=condition=Ready", resource, "--timeout=30s"), one);
  assert.equal(await bench.do("wait", "--for=jsonpath={.metadata.name}=xdp-packet-filter", "ebpf", "--all"), one);
  const leaving = bench.run("wait", "--for=delete", resource, "--timeout=30s");
  // Answered after the first look of `wait`, which asked before: it is to see the object go.
  await bench.do("get", resource);
  await bench.do("delete", "-f", programFile);
  assert.deepEqual(await leaving, { exitCode: 0, out: one, err: "" });
  assert.deepEqual(await bench.run("wait", "--for=delete", resource), { exitCode: 0, out: "", err: "" });
});

test("wait ends with kubectl's words when the time is over, and for what is not there", async () => {
  await bench.do("apply", "-f", programFile, "--wait");
  const late = await bench.run("wait", "--for=condition=Ready=False", resource, "--timeout=300ms");
  assert.deepEqual(late, {
    exitCode: 1,
    out: "",
    err: "error: timed out waiting for the condition on ebpfprograms.networking.fos1.io/xdp-packet-filter\n",
  });
  const once = await bench.run("wait", "--for=condition=Ready=False", resource, "--timeout=0");
  assert.equal(once.exitCode, 1);
  const missing = await bench.run("wait", "--for=condition=Ready", "ebpfprogram/nosuch");
  assert.equal(missing.err, 'Error from server (NotFound): ebpfprograms.networking.fos1.io "nosuch" not found\n');
  const none = await bench.run("wait", "--for=condition=Ready", "ebpfmaps", "--all");
  assert.equal(none.err, "error: no matching resources found\n");
  assert.match((await bench.run("wait", "--for=ready", resource)).err, /unrecognized condition: "ready"/);
  assert.match((await bench.run("wait", "--for=delete", "ebpfprograms")).err, /no name was specified/);
});

test("top lists the programs that ran in the window with their CPU time, and what that cost", async () => {
  // A process of its own: pings are waited for without a turn for others.
  const top = bench.spawn("top", "--ours", "--window", "3s");
  for (const end = performance.now() + 5000; performance.now() < end;) bench.ping("10.0.0.2");
  assert.equal(await top.ended(), 0, top.err);
  const { out, err } = top;
  assert.match(out, /^ID +TYPE +NAME +OWNER +HOOK +CPU\(cores\) +RUNS\/S +NS\/RUN$/m);
  assert.match(out, /^\d+ +xdp +\S+ +filter\/\S+ +xdp\/eth0 +\d+[mun] +[1-9]\d* +[1-9]\d*$/m);
  assert.match(err, /^statistics were on for \d+ ms \(switching took [\d.]+ ms\): [1-9]\d* runs were timed/m);
  const json = JSON.parse(await bench.do("top", "--window", "10ms", "-o", "json")) as readonly object[];
  assert.ok(Array.isArray(json));
  assert.match((await bench.run("top", "--window", "0")).err, /give at least 1ms/);
});
