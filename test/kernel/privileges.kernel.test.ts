import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import { capabilityNumbers } from "../../tools/images/names.ts";

const ebpfctl = join(import.meta.dirname, "../../apps/ebpfctl/src/main.ts");

/** What this machine lets its root have of them. */
const [, bounds = "0"] = /^CapBnd:\s+([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
const capabilities = Object.entries(capabilityNumbers)
  .filter(([, number]) => ((BigInt(`0x${bounds}`) >> BigInt(number)) & 1n) === 1n)
  .map(([name]) => name);

const objects = `
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: {name: front, namespace: default}
spec: {type: xdp, interface: eth0, settings: {blacklist: {enabled: true, ips: [192.0.2.1]}}}
---
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: {name: back, namespace: default}
spec: {type: tc-egress, interface: eth0, settings: {blacklist: {enabled: true, ips: [192.0.2.1]}}}
`;

/** A node with two programs declared, on which `ebpfctl up --once` runs with chosen capabilities. */
async function withNode(use: (up: (without: readonly string[], ...flags: string[]) => string) => void): Promise<void> {
  await using sandbox = new KernelSandbox();
  const { name } = sandbox.netns();
  sandbox.ip(name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1");
  for (const each of ["lo", "eth0", "eth1"]) sandbox.ip(name, "link", "set", each, "up");
  for (const folder of ["objects", "state"]) mkdirSync(join(sandbox.dir, folder));
  const env = {
    ...process.env,
    BPFLEET_STORE: join(sandbox.dir, "objects"),
    BPFLEET_STATE: join(sandbox.dir, "state"),
    BPFLEET_SOCKET: join(sandbox.dir, "bpfleet.sock"),
    BPFLEET_BPFFS: await sandbox.bpffs(),
  };
  const run = (command: readonly string[], input = ""): string => {
    const [program = "", ...args] = command;
    const { stdout, stderr } = spawnSync(program, args, { env, input, encoding: "utf8" });
    return stdout + stderr;
  };
  run([process.execPath, ebpfctl, "apply", "-f", "-"], objects);
  use((without, ...flags) => {
    const held = capabilities.filter((each) => !without.includes(each));
    const set = ["-all", ...held.map((each) => `+${each.toLowerCase()}`)].join(",");
    const limits = ["setpriv", `--inh-caps=${set}`, `--bounding-set=${set}`];
    const words = [process.execPath, ebpfctl, "up", "--once", "--log=silent", ...flags];
    return run(["nsenter", `--net=/run/netns/${name}`, ...limits, ...words]);
  });
}

const works = /2 objects \(2 in-force\)/;

test("the daemon works with the capabilities that it is given, and adopts what it finds", async () => {
  await withNode((up) => {
    assert.match(up([]), works);
    assert.match(up([]), works);
    assert.match(up([], "--legacy-tc"), works);
  });
});

test("the daemon without SYS_ADMIN finds nothing again after a restart", async () => {
  await withNode((up) => {
    assert.match(up([]), works);
    assert.match(up(["SYS_ADMIN"]), /read the pins: operation not permitted/);
  });
});

test("the daemon without NET_ADMIN attaches no filter of tc", async () => {
  await withNode((up) => {
    assert.match(up(["NET_ADMIN"], "--legacy-tc"), /attach tc-egress\/eth0: operation not permitted/);
  });
});

test("the daemon without BPF makes no map, unless SYS_ADMIN stands in for it", async () => {
  await withNode((up) => {
    assert.match(up(["BPF", "SYS_ADMIN"]), /create map .*: operation not permitted/);
    assert.match(up(["BPF"]), works);
  });
});

test("the daemon without PERFMON loads no program that subtracts pointers, unless SYS_ADMIN stands in for it", async () => {
  await withNode((up) => {
    assert.match(up(["PERFMON", "SYS_ADMIN"]), /the verifier refused it/);
    assert.match(up(["PERFMON"]), works);
  });
});

test("tracefs opens to another user than root by DAC_READ_SEARCH only", (t) => {
  const script = (capability: string): string =>
    [
      "mount -t tracefs tracefs /sys/kernel/tracing",
      `exec setpriv --reuid=65532 --regid=65532 --clear-groups --inh-caps=-all,+${capability} --ambient-caps=-all,+${capability} cat /sys/kernel/tracing/events/sched/sched_switch/id`,
    ].join(" && ");
  const read = (capability: string) =>
    spawnSync("unshare", ["--mount", "sh", "-c", script(capability)], { encoding: "utf8" });
  const opened = read("dac_read_search");
  if (/mount|No such file/.test(opened.stderr)) return t.skip("no tracefs");
  assert.match(opened.stdout, /^\d+\n$/);
  assert.match(read("sys_admin").stderr, /Permission denied/);
});
