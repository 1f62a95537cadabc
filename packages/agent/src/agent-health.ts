import type { DaemonResults } from "@bpfleet/daemon";
import type { HealthSource } from "@bpfleet/kube-client";
import type { ObjectReport } from "./report.ts";

const states = ["in-force", "waiting", "failed", "pending"] as const;

/** What probes and Prometheus are told of an agent. */
export class AgentHealth implements HealthSource {
  readonly #version: string;
  readonly #startedMs: number;
  #counts: ReadonlyMap<string, number> = new Map();
  #results: DaemonResults | undefined;
  #isConnected = (): boolean => false;
  #phase = "starting: the daemon was not reached yet";
  notices = 0;

  /** `nowMs`: since the epoch. */
  constructor(version: string, nowMs: number) {
    this.#version = version;
    this.#startedMs = nowMs;
  }

  /** What it waits for; `undefined` when it plans. */
  enters(phase: string | undefined): void {
    this.#phase = phase ?? "";
  }

  reaches(isConnected: () => boolean): void {
    this.#isConnected = isConnected;
  }

  reports(reports: readonly ObjectReport[], results: DaemonResults): void {
    const own = reports.filter(({ madeFrom }) => madeFrom === undefined);
    this.#counts = new Map(states.map((state) => [state, own.filter((each) => each.state === state).length]));
    this.#results = results;
  }

  /** That it answers at all. */
  whyUnhealthy = (): string | undefined => undefined;

  whyUnready = (): string | undefined => {
    if (this.#phase !== "") return this.#phase;
    if (!this.#isConnected()) return "the daemon cannot be reached; what it had is still in force";
    return undefined;
  };

  metrics = (): string =>
    [
      "# HELP bpfleet_agent_build_info Version of the agent.",
      "# TYPE bpfleet_agent_build_info gauge",
      `bpfleet_agent_build_info{version="${this.#version}"} 1`,
      "# HELP bpfleet_agent_daemon_connected Whether the daemon can be reached.",
      "# TYPE bpfleet_agent_daemon_connected gauge",
      `bpfleet_agent_daemon_connected ${this.#isConnected() ? 1 : 0}`,
      "# HELP bpfleet_agent_objects Objects by what became of them on this node.",
      "# TYPE bpfleet_agent_objects gauge",
      ...states.map((state) => `bpfleet_agent_objects{state="${state}"} ${this.#counts.get(state) ?? 0}`),
      "# HELP bpfleet_agent_plan_revision Plans that the daemon took since its start.",
      "# TYPE bpfleet_agent_plan_revision gauge",
      `bpfleet_agent_plan_revision ${this.#results?.revision ?? 0}`,
      "# HELP bpfleet_agent_notices_total Warnings since the start.",
      "# TYPE bpfleet_agent_notices_total counter",
      `bpfleet_agent_notices_total ${this.notices}`,
      "# HELP process_start_time_seconds Start of the process, since the epoch.",
      "# TYPE process_start_time_seconds gauge",
      `process_start_time_seconds ${this.#startedMs / 1000}`,
      "# HELP process_resident_memory_bytes Resident memory.",
      "# TYPE process_resident_memory_bytes gauge",
      `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
      "",
    ].join("\n");
}
