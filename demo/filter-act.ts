import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CostMeter } from "./cost-meter.ts";
import { judge, type Expectation, type Played } from "./judge.ts";
import { clients, type Client } from "./network.ts";
import { bpftool, ebpfctl, ebpfctlJson, explainDrop, Receiver, send } from "./processes.ts";
import type { Screen } from "./screen.ts";

const kinds = join(import.meta.dirname, "..", "packages", "kinds", "src", "networking.fos1.io");
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

/** What a list, a limit and a live map do with packets from clients to a server. */
export class FilterAct {
  readonly #screen: Screen;
  readonly #receiver = new Receiver();
  readonly #failures: string[] = [];

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** What was not as declared. */
  async play(): Promise<readonly string[]> {
    await this.#declare();
    using meter = new CostMeter();
    await this.#scenes({ client: clients.permitted, packetsPerSecond: 200, expect: "pass" });
    await this.#scenes({ client: clients.blacklisted, packetsPerSecond: 200, expect: "drop" });
    await this.#scenes({ client: clients.badNet, packetsPerSecond: 200, expect: "drop" });
    await this.#scenes(
      { client: clients.permitted, packetsPerSecond: 200, expect: "pass" },
      { client: clients.flooder, packetsPerSecond: 30_000, expect: "limit" },
    );
    await this.#changeLiveMap();
    await this.#showOutcome(meter);
    return this.#failures;
  }

  [Symbol.dispose](): void {
    this.#receiver[Symbol.dispose]();
  }

  async #declare(): Promise<void> {
    for (const file of manifests) this.#screen.quote(readFileSync(file, "utf8"));
    this.#screen.step("ebpfctl apply --wait -f xdp-packet-filter.yaml -f blacklist-map.yaml");
    this.#screen.output(await ebpfctl("apply", "--wait", ...manifests.flatMap((file) => ["-f", file])));
    this.#screen.step("ebpfctl get ebpfprograms,ebpfmaps");
    this.#screen.output(await ebpfctl("get", "ebpfprograms,ebpfmaps"));
    this.#screen.step("traffic: UDP from the clients to the server");
  }

  /** Scenes that run at once, and whether the filter did with their packets what it was told. */
  async #scenes(...scenes: readonly Scene[]): Promise<void> {
    const before = (await programMetrics()).packetsDropped;
    const played = await Promise.all(scenes.map((scene) => this.#scene(scene)));
    const dropped = (await programMetrics()).packetsDropped - before;
    const { notes, failures } = judge(played, dropped);
    for (const note of notes) this.#screen.note(note);
    this.#failures.push(...failures);
  }

  /** Sends, shows what arrives while it does, and says who decided. */
  async #scene({ client, packetsPerSecond, expect }: Scene): Promise<Played> {
    const receiver = this.#receiver;
    const before = receiver.arrivedFrom(client.address);
    const row = this.#screen.row(client);
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

  async #changeLiveMap(): Promise<void> {
    await this.#scenes({ client: clients.late, packetsPerSecond: 200, expect: "pass" });
    const command = "map update pinned /sys/fs/bpf/blacklist key 24 0 0 0 172 16 5 0 value 1 0 0 0";
    this.#screen.step(`bpftool ${command}`);
    bpftool(command.split(" "));
    await this.#scenes({ client: clients.late, packetsPerSecond: 200, expect: "drop" });
  }

  async #showOutcome(meter: CostMeter): Promise<void> {
    this.#screen.step("ebpfctl get ebpfprogram xdp-packet-filter -o json, its metrics");
    const metrics = await programMetrics();
    this.#screen.note(`passed ${metrics.packetsPassed}, dropped ${metrics.packetsDropped}`);
    for (const { rule, packets } of metrics.rules)
      this.#screen.note(`  ${String(packets).padStart(7)} dropped by ${rule}`);
    this.#screen.step("cost, by the kernel's own clock");
    this.#screen.note(await meter.render());
  }
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
