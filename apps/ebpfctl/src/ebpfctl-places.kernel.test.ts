import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { NodeBench, type RunningCommand } from "./testing/node-bench.ts";

const cgroupMount = readFileSync("/proc/self/mounts", "utf8")
  .split("\n")
  .map((line) => line.split(" "))
  .find(([, , type]) => type === "cgroup2")?.[1];
const podCgroup = `bpfleet-ebpfctl-${process.pid}`;

let bench: NodeBench;
let up: RunningCommand;

before(async () => {
  bench = await NodeBench.start();
  up = bench.spawn("up", "--metrics-addr", `unix:${bench.directory}/metrics.sock`, "--node-name", "edge-1");
  await up.says(/^ready/m);
});
after(async () => {
  await bench[Symbol.asyncDispose]();
});

function write(name: string, content: string): string {
  writeFileSync(join(bench.directory, name), content);
  return name;
}

function program(name: string, spec: string): string {
  return `apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFProgram\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
}

async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await isTrue())) {
    assert.ok(performance.now() < end, `not within 10 s: ${what}`);
    await sleep(20);
  }
}

const stateOf = async (name: string) => bench.do("get", `ebpf/${name}`, "-o", "jsonpath={.status.state}");

test("a program waits for its interface, runs as soon as it comes, and again when it comes back", async () => {
  await bench.do("apply", "-f", write("later.yaml", program("later", "{type: xdp, interface: later0}")));
  await until("it waits", async () => (await stateOf("later")) === "Pending");
  assert.match(await bench.do("describe", "ebpf/later"), /InterfaceNotFound/);
  for (let round = 0; round < 2; round++) {
    bench.onNode("ip", "link", "add", "later0", "type", "veth", "peer", "name", "later1");
    bench.onNode("ip", "link", "set", "later0", "up");
    await until("it is active", async () => (await stateOf("later")) === "Active");
    assert.match(await bench.do("link", "list", "--ours"), /xdp\/later0/);
    bench.onNode("ip", "link", "delete", "later0");
    await until("it waits again", async () => (await stateOf("later")) === "Pending");
  }
  await bench.do("delete", "ebpf", "later");
});

test("explain follows a packet from XDP to tc, and the way out", async () => {
  const spec = (type: string, ip: string) =>
    `{type: ${type}, interface: eth0, settings: {blacklist: {enabled: true, ips: [${ip}]}}}`;
  const all = [
    program("first", spec("xdp", "198.51.100.1")),
    program("second", spec("tc-ingress", "198.51.100.2")),
    program("out", spec("tc-egress", "198.51.100.3")),
  ];
  await bench.do("apply", "--wait", "-f", write("three.yaml", all.join("---\n")));
  const atXdp = await bench.run("explain", "-i", "eth0", "--from", "198.51.100.1");
  assert.equal(atXdp.exitCode, 3, atXdp.err);
  assert.doesNotMatch(atXdp.out, /tc-ingress/);
  const atTc = await bench.run("explain", "-i", "eth0", "--from", "198.51.100.2");
  assert.equal(atTc.exitCode, 3, atTc.err);
  assert.match(atTc.out, /xdp\/eth0\n.*default\/first: XDP_PASS\n[^]*tc-ingress\/eth0\n.*default\/second: TC_ACT_SHOT/);
  const out = await bench.run(
    "explain",
    "-i",
    "eth0",
    "--direction",
    "egress",
    "--to",
    "198.51.100.3",
    "--dport",
    "443",
  );
  assert.match(out.out, /^10\.0\.0\.1:40000 > 198\.51\.100\.3:443 tcp/);
  assert.match(out.out, /tc-egress\/eth0\n.*default\/out: /);
  const nowhere = await bench.run("explain", "-i", "lo", "--from", "198.51.100.3");
  assert.equal(nowhere.exitCode, 1);
  assert.match(nowhere.err, /nothing of ours is there, so it passes; there is .*xdp\/eth0/);
  await bench.do("delete", "-f", "three.yaml");
});

test("get --watch prints what changes until it is interrupted", async () => {
  const watch = bench.spawn("get", "ebpf", "--watch");
  await sleep(1000);
  const file = write("seen.yaml", program("seen", "{type: xdp, interface: eth0}"));
  await bench.do("apply", "--wait", "-f", file);
  await watch.says(/^seen +xdp +eth0 +Active /m);
  assert.equal(await watch.end("SIGINT"), 0);
  await bench.do("delete", "-f", file);
});

test("up serves Prometheus metrics with the node's name", async () => {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  request({ socketPath: join(bench.directory, "metrics.sock"), path: "/metrics" }, (response) => {
    text(response).then(resolve, reject);
  })
    .on("error", reject)
    .end();
  const metrics = await promise;
  assert.match(metrics, /^bpfleet_\w+(\{.*\})? [\d.e+-]+$/m);
  assert.match(metrics, /edge-1/);
});

test(
  "a program of the pods of a namespace runs on their cgroups",
  { skip: cgroupMount === undefined && "no cgroup v2 is mounted" },
  async (t) => {
    const directory = join(cgroupMount ?? "", podCgroup);
    mkdirSync(directory);
    t.after(() => rmdirSync(directory));
    const pod = `apiVersion: v1\nkind: Pod\nmetadata: {name: web, annotations: {bpfleet.io/cgroup: ${podCgroup}}}\n`;
    const accounting = program(
      "accounting",
      "{type: cgroup, settings: {containerPolicy: {enableAccounting: true, enableEgressControl: true}, blacklist: {enabled: true, ips: [10.0.0.2]}}}",
    );
    await bench.do("apply", "--wait", "-f", write("pods.yaml", `${pod}---\n${accounting}`));
    const pingFromPod = () =>
      bench.onNode("sh", "-c", `echo $$ > ${directory}/cgroup.procs; ping -n -q -c 2 -i 0.05 -W 1 10.0.0.2 || true`);
    assert.match(pingFromPod(), / 0 received/);
    assert.equal(bench.ping("10.0.0.2"), 3, "others are not concerned");
    const { status } = JSON.parse(await bench.do("get", "ebpf/accounting", "-o", "json")) as {
      status: { metrics: { packetsDropped: number } };
    };
    assert.equal(status.metrics.packetsDropped, 2);
    await bench.do("delete", "ebpf", "accounting");
    assert.match(pingFromPod(), / 2 received/);
    await bench.do("delete", "pod", "web");
  },
);

test("a file of the store that somebody spoils changes nothing in the kernel, and describe says where", async () => {
  await bench.do(
    "apply",
    "--wait",
    "-f",
    write(
      "edge.yaml",
      program("edge", "{type: xdp, interface: eth0, settings: {blacklist: {enabled: true, ips: [10.10.10.0/24]}}}"),
    ),
  );
  const stored = join(bench.env.BPFLEET_STORE, "networking.fos1.io/EBPFProgram/default/edge.yaml");
  const sound = readFileSync(stored, "utf8");
  writeFileSync(stored, sound.replace("10.10.10.0/24", "10.10.10.0/99"));
  await until("the mistake is told", async () => /edge\.yaml:5: .*\/99/.test(await bench.do("describe", "ebpf/edge")));
  assert.equal(bench.ping("10.10.10.7"), 0);
  writeFileSync(stored, sound.replace("10.10.10.0/24", "10.10.11.0/24"));
  await until("the edit is in force", async () => bench.ping("10.10.10.7") === 3);
  await bench.do("delete", "ebpf", "edge");
});

test("up --legacy-tc attaches by filters where there is TCX too", async () => {
  assert.equal(await up.end("SIGTERM"), 0);
  up = bench.spawn("up", "--legacy-tc");
  await up.says(/^ready/m);
  await bench.do(
    "apply",
    "--wait",
    "-f",
    write(
      "tc.yaml",
      program(
        "in",
        "{type: tc-ingress, interface: eth0, settings: {blacklist: {enabled: true, ips: [10.10.10.0/24]}}}",
      ),
    ),
  );
  assert.equal(bench.ping("10.10.10.7"), 0);
  assert.match(bench.onNode("tc", "filter", "show", "dev", "eth0", "ingress"), /bpf/);
  await bench.do("delete", "ebpf", "in");
  assert.equal(bench.ping("10.10.10.7"), 3);
});
