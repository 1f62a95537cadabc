import { refKey, type ObjectRef } from "@bpfleet/base";
import type { KubeObject, NodeStateStatus } from "@bpfleet/kinds";
import type { ObjectRecord, ObjectRecords } from "../records.ts";
import type { MadeObject } from "./made-objects.ts";

/** What an earlier run of the agent of this node said. */
export interface EarlierReports {
  readonly nodeState: NodeStateStatus | undefined;
  readonly made: readonly MadeObject[];
}

const served = new Set(["InForce", "Waiting", "Failed", "Pending"]);

/** Records in memory: what an agent of a cluster remembers over its restarts is what it wrote there. */
export class ClusterRecords implements ObjectRecords {
  readonly #loadEarlier: () => Promise<EarlierReports>;
  readonly #generationOf: (ref: ObjectRef) => number | undefined;
  readonly #records = new Map<string, ObjectRecord>();
  /** Generations that were served before this run. */
  readonly #served = new Map<string, number>();

  /** `generationOf`: of an object as the server has it now. */
  constructor(loadEarlier: () => Promise<EarlierReports>, generationOf: (ref: ObjectRef) => number | undefined) {
    this.#loadEarlier = loadEarlier;
    this.#generationOf = generationOf;
  }

  /** An object that was refused as it is now was not served; nothing waits for it. */
  wasServed(ref: ObjectRef): boolean {
    const generation = this.#served.get(refKey(ref));
    return generation !== undefined && generation < (this.#generationOf(ref) ?? 0);
  }

  async load(): Promise<void> {
    const { nodeState, made } = await this.#loadEarlier();
    const observedAt = nodeState?.observedAt ?? "";
    for (const { group, kind, namespace, name, uid, observedGeneration, state, conditions } of nodeState?.results ?? [])
      if (served.has(state)) {
        this.#served.set(refKey({ group, kind, namespace, name }), observedGeneration ?? 0);
        const timed = conditions.map((condition) => ({ ...condition, lastTransitionTime: observedAt }));
        await this.save({
          ...unknown,
          ref: { group, kind, namespace, name },
          uid: uid ?? "",
          generation: observedGeneration ?? 0,
          status: { conditions: timed },
        });
      }
    for (const { ref, object } of made) await this.save(recordOfMade(ref, object));
  }

  find(ref: ObjectRef): ObjectRecord | undefined {
    return this.#records.get(refKey(ref));
  }

  all(): readonly ObjectRecord[] {
    return [...this.#records.values()];
  }

  madeFrom(owners: readonly ObjectRef[]): readonly ObjectRef[] {
    const keys = new Set(owners.map(refKey));
    return this.all().flatMap(({ ref, made }) => (made !== undefined && keys.has(refKey(made.from)) ? [ref] : []));
  }

  async save(record: ObjectRecord): Promise<void> {
    this.#records.set(refKey(record.ref), record);
  }

  async keepOnly(refs: Iterable<ObjectRef>): Promise<void> {
    const kept = new Set([...refs].map(refKey));
    for (const key of this.#records.keys()) if (!kept.has(key)) this.#records.delete(key);
  }
}

const unknown = {
  creationTimestamp: "",
  resourceVersion: "1",
  spec: "",
  state: "pending",
  messages: [],
  events: [],
} as const;

function recordOfMade(ref: ObjectRef, { status, ...object }: KubeObject): ObjectRecord {
  const { uid = "", creationTimestamp = "", generation = 1, ownerReferences = [] } = object.metadata;
  const [owner] = ownerReferences;
  const made = owner && { from: { ...ref, kind: owner.kind, name: owner.name }, object };
  return { ...unknown, ref, uid, creationTimestamp, generation, status, ...(made && { made }) };
}
