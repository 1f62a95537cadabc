import type { Clock } from "@bpfleet/base";
import { describeLoggedFlow, nodeInstanceKey, readLoggedFlow, type LogEntry, type PolicyData } from "@bpfleet/features";
import type { FeatureInstance, NodeFacts, NodePlan } from "@bpfleet/kernel";

export interface FlowLogOptions {
  readonly plan: () => NodePlan;
  readonly facts: () => NodeFacts | undefined;
  readonly clock: Clock;
  /** Takes whole lines; must not wait. */
  readonly write?: ((lines: string) => void) | undefined;
}

/** Lines that whoever asks later is told. */
const kept = 500;
/** Tables whose rules are known: records of the one before may come after an edit. */
const knownTables = 3;

/** Flows that rules log, as lines of JSON. Programs cap how many there are; `missed` says how many were not told. */
export class FlowLog {
  readonly #options: FlowLogOptions;
  readonly #listeners = new Set<(lines: readonly string[]) => void>();
  #recent: string[] = [];
  #instances: readonly FeatureInstance[] = [];
  readonly #missed = new Map<string, number>();

  constructor(options: FlowLogOptions) {
    this.#options = options;
  }

  /** Some rule of the plan logs. */
  isWanted(): boolean {
    const instance = this.#options.plan().instances.find(({ key }) => key === nodeInstanceKey);
    // Each holds all pods of the node: none is kept of which no record can come.
    if (instance === undefined || (instance.data as PolicyData).logs !== true) return false;
    if (this.#instances[0] !== instance) this.#instances = [instance, ...this.#instances].slice(0, knownTables);
    return true;
  }

  take(records: readonly Uint8Array[]): void {
    const lines = records.flatMap((record) => {
      const entry = this.#read(record);
      return entry === undefined ? [] : [JSON.stringify(entry)];
    });
    if (lines.length === 0) return;
    this.#recent = [...this.#recent, ...lines].slice(-kept);
    this.#options.write?.(`${lines.join("\n")}\n`);
    for (const listener of this.#listeners) listener(lines);
  }

  recent(): readonly string[] {
    return this.#recent;
  }

  onLines(listener: (lines: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #read(record: Uint8Array): LogEntry | undefined {
    const { facts, clock } = this.#options;
    const flow = readLoggedFlow(record);
    if (flow === undefined) return undefined;
    this.isWanted();
    const bucket = `${flow.counterSlot} ${flow.rule}`;
    const before = this.#missed.get(bucket) ?? 0;
    this.#missed.set(bucket, flow.missed);
    const instance = this.#instances.find(({ data }) => (data as PolicyData).serial === String(flow.serial));
    const atMs = clock.now() - Number(process.hrtime.bigint() - flow.timeNs) / 1e6;
    // Another list of rules may have the slot by now.
    const missed = flow.missed >= before ? flow.missed - before : flow.missed;
    return describeLoggedFlow(flow, instance, facts()?.endpoints, atMs, missed);
  }
}
