// The demo's story; run.sh has already put this process into namespaces of its own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { clients, makeNetwork, type Client } from "./network.ts";
import { CostMeter } from "./cost-meter.ts";
import { judge, type Expectation, type Played } from "./judge.ts";
import { bpftool, ebpfctl, ebpfctlJson, ebpfctlPath, explainDrop, Receiver, send } from "./processes.ts";
import { Screen } from "./screen.ts";

const { values: flags } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
const root = join(import.meta.dirname, "..");
const kinds = join(root, "packages", "kinds", "src", "networking.fos1.io");
const manifests = [
  join(kinds, "ebpfprogram", "samples", "xdp-packet-filter.yaml"),
  join(kinds, "ebpfmap", "samples", "blacklist-map.yaml"),
];
const sceneSeconds = 2;
/** Packets per second, as xdp-packet-filter.yaml has it. */
const limit = 10_000;

interface Scene {
  readonly client: Client;
  readonly packetsPerSecond: number;
  /** What the demo is about: the demo fails when it is not so. */
  readonly expect: Expectation;
}

const screen = new Screen();
const failures: string[] = [];
const receiver = startRouter();
const daemon = spawn(ebpfctlPath, ["up"], { stdio: ["ignore", "pipe", "inherit"] });
const daemonEnded = once(daemon, "exit");
process.once("SIGINT", () => daemon.kill());
try {
  await daemonReady();
  await declare();
  using meter = new CostMeter();
  await play({ client: clients.permitted, packetsPerSecond: 200, expect: "pass" });
  await play({ client: clients.blacklisted, packetsPerSecond: 200, expect: "drop" });
  await play({ client: clients.badNet, packetsPerSecond: 200, expect: "drop" });
  await flood();
  await changeLiveMap();
  await showOutcome(meter);
} finally {
  if (flags.keep && failures.length === 0) await keep();
  daemon.kill();
  await daemonEnded;
  receiver[Symbol.dispose]();
}
for (const failure of failures) screen.failure(failure);
process.exit(failures.length === 0 ? 0 : 1);

function startRouter(): Receiver {
  screen.title("bpfleet: a router, its clients and a server, each in a network namespace of its own");
  screen.picture(["clients ── eth0 [ router, bpfleet ] eth1 ── server"]);
  makeNetwork();
  return new Receiver();
}

async function daemonReady(): Promise<void> {
  screen.step("ebpfctl up");
  const [line] = (await Promise.race([once(daemon.stdout, "data"), daemonEnded.then(() => ["it ended"])])) as [
    Buffer | string,
  ];
  screen.note(String(line).trim());
  if (daemon.exitCode !== null) throw new Error("start the daemon: it ended at once");
}

async function declare(): Promise<void> {
  for (const file of manifests) screen.quote(readFileSync(file, "utf8"));
  screen.step("ebpfctl apply --wait -f xdp-packet-filter.yaml -f blacklist-map.yaml");
  screen.output(await ebpfctl("apply", "--wait", ...manifests.flatMap((file) => ["-f", file])));
  screen.step("ebpfctl get ebpfprograms,ebpfmaps");
  screen.output(await ebpfctl("get", "ebpfprograms,ebpfmaps"));
  screen.step("traffic: UDP from the clients to the server");
}

/** Scenes that run at once, and whether the filter did with their packets what it was told. */
async function play(...scenes: readonly Scene[]): Promise<void> {
  const before = (await programMetrics()).packetsDropped;
  const played = await Promise.all(scenes.map(playOne));
  const dropped = (await programMetrics()).packetsDropped - before;
  const { notes, failures: found } = judge(played, dropped);
  for (const note of notes) screen.note(note);
  failures.push(...found);
}

/** Sends, shows what arrives while it does, and says who decided. */
async function playOne({ client, packetsPerSecond, expect }: Scene): Promise<Played> {
  const before = receiver.arrivedFrom(client.address);
  const row = screen.row(client);
  const watching = setInterval(() => row.update(receiver.arrivedFrom(client.address) - before), 250);
  const { sent, tookSeconds } = await send(client.address, packetsPerSecond, sceneSeconds);
  await receiver.quiet();
  clearInterval(watching);
  const arrived = receiver.arrivedFrom(client.address) - before;
  const why = expect === "drop" ? await explainDrop(client.address) : undefined;
  row.finish({
    sent,
    arrived,
    why: expect === "limit" ? `${limit} packets per second, and one second's worth at once` : why,
  });
  return { name: client.name, expect, sent, arrived, allowed: limit * (tookSeconds + 1) };
}

async function flood(): Promise<void> {
  await play(
    { client: clients.permitted, packetsPerSecond: 200, expect: "pass" },
    { client: clients.flooder, packetsPerSecond: 30_000, expect: "limit" },
  );
}

async function changeLiveMap(): Promise<void> {
  await play({ client: clients.late, packetsPerSecond: 200, expect: "pass" });
  const argv = [
    "map",
    "update",
    "pinned",
    "/sys/fs/bpf/blacklist",
    "key",
    "24",
    "0",
    "0",
    "0",
    "172",
    "16",
    "5",
    "0",
    "value",
    "1",
    "0",
    "0",
    "0",
  ];
  screen.step(`bpftool ${argv.join(" ")}`);
  bpftool(argv);
  await play({ client: clients.late, packetsPerSecond: 200, expect: "drop" });
}

interface ProgramStatus {
  readonly status: {
    readonly metrics: {
      readonly packetsPassed: number;
      readonly packetsDropped: number;
      readonly rules: readonly RuleMetric[];
    };
  };
}

interface RuleMetric {
  readonly rule: string;
  readonly packets: number;
}

async function programMetrics(): Promise<ProgramStatus["status"]["metrics"]> {
  return (await ebpfctlJson<ProgramStatus>("get", "ebpfprogram", "xdp-packet-filter")).status.metrics;
}

async function showOutcome(meter: CostMeter): Promise<void> {
  screen.step("ebpfctl get ebpfprogram xdp-packet-filter -o json, its metrics");
  const metrics = await programMetrics();
  screen.note(`passed ${metrics.packetsPassed}, dropped ${metrics.packetsDropped}`);
  for (const { rule, packets } of metrics.rules) screen.note(`  ${String(packets).padStart(7)} dropped by ${rule}`);
  screen.step("cost, by the kernel's own clock");
  screen.note(await meter.render());
}

async function keep(): Promise<void> {
  screen.step("kept: play with it from another terminal");
  screen.note("make demo-shell                       a shell inside the demo; there:");
  screen.note("  bin/ebpfctl trace --drops           and in a second one:");
  screen.note("  nsenter --net=/run/netns/clients ping -I 10.10.10.7 10.0.0.2");
  screen.note("ctrl-C here ends the demo and leaves nothing behind");
  await daemonEnded;
}
