import { RunStatistics } from "@bpfleet/native";
import { ebpfctlJson } from "./processes.ts";

interface ListedProgram {
  readonly name: string;
  readonly ours?: string;
  readonly runCount: number;
  readonly runTimeNs: number;
}

/** While it lives the kernel counts runs and run time of every program; the counting itself costs some 20 ns a run. */
export class CostMeter implements Disposable {
  readonly #statistics = RunStatistics.enable();

  async render(): Promise<string> {
    const programs = await ebpfctlJson<readonly ListedProgram[]>("prog", "list");
    const filter = programs.find(({ ours }) => ours === "filter/default/xdp-packet-filter/program");
    const runs = filter?.runCount ?? 0;
    if (!filter || runs === 0) return "the kernel counted no run";
    const nsPerRun = Math.round(filter.runTimeNs / runs);
    return `${filter.name} ran ${runs} times, ${nsPerRun} ns each: list, live map, rate limit and counters, with the kernel's measuring included`;
  }

  [Symbol.dispose](): void {
    this.#statistics.close();
  }
}
