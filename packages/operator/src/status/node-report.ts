import { canonicalJson, refKey } from "@bpfleet/base";
import type { NodeResult, NodeState } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";

/** What one node says of one object, as small as it can be: what many nodes say alike is kept once. */
export interface CompactResult {
  readonly said: Said;
  /** The values of the numbers that `said` names. */
  readonly values: readonly number[];
}

interface Said {
  readonly uid: string | undefined;
  readonly state: NodeResult["state"];
  readonly observedGeneration: number | undefined;
  readonly conditions: NodeResult["conditions"];
  readonly pointers: readonly string[];
  readonly texts: NonNullable<NodeResult["texts"]>;
}

/** A NodeState without its inventory. */
export interface NodeReport extends AnyObject {
  /** By `refKey` of the object. */
  readonly results: ReadonlyMap<string, CompactResult>;
  /** There are results that are not listed: some of those in trouble, or only others. */
  readonly cut: "trouble" | "sound" | undefined;
  readonly observedAt: string | undefined;
  /** Why nobody stands for it any more, in one word. */
  readonly lostBecause: string | undefined;
}

/** What `Ready` was when the agent was last heard; it is there only while nobody hears it. */
export const lastToldCondition = "LastTold";

/** Keeps equal values once. */
export class Interning {
  readonly #said = new Map<string, Said>();
  readonly #plain = new Map<Said, CompactResult>();
  readonly #texts = new Map<string, string>();

  text(text: string): string {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    this.#texts.set(text, text);
    return text;
  }

  result(said: Said, values: readonly number[]): CompactResult {
    const key = canonicalJson(said);
    const kept = this.#said.get(key) ?? said;
    if (kept === said) this.#said.set(key, said);
    if (values.length > 0) return { said: kept, values };
    const plain = this.#plain.get(kept) ?? { said: kept, values };
    this.#plain.set(kept, plain);
    return plain;
  }

  get size(): number {
    return this.#said.size;
  }

  /** Texts of objects that are long gone would stay for ever: everything is dropped, and shared anew. */
  dropIfLarger(than: number): void {
    if (this.#said.size + this.#texts.size <= than) return;
    this.#said.clear();
    this.#plain.clear();
    this.#texts.clear();
  }
}

const interned = 100_000;

/** What is kept of a NodeState, whatever stands in it. */
export function compactNodeState(object: AnyObject, interning: Interning): NodeReport {
  interning.dropIfLarger(interned);
  const { name, uid, resourceVersion } = object.metadata;
  const status = (object as unknown as NodeState).status ?? {};
  const results = new Map<string, CompactResult>();
  for (const each of Array.isArray(status.results) ? status.results : []) {
    const numbers = Object.entries(each.numbers ?? {}).filter(([, value]) => Number.isFinite(value));
    const said: Said = {
      uid: each.uid,
      state: each.state,
      observedGeneration: each.observedGeneration,
      conditions: each.conditions ?? [],
      pointers: numbers.map(([pointer]) => pointer),
      texts: each.texts ?? {},
    };
    results.set(
      interning.text(refKey(each)),
      interning.result(
        said,
        numbers.map(([, value]) => value),
      ),
    );
  }
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: { name, uid, resourceVersion },
    results,
    cut: cutOf(status),
    observedAt: status.observedAt,
    lostBecause: lostBecause(status),
  };
}

const sound: ReadonlySet<unknown> = new Set(["InForce", "NotSelected"]);

/** Nodes list what is in trouble before all else, and count all. */
function cutOf({ omittedResults = 0, objects, results }: NonNullable<NodeState["status"]>): NodeReport["cut"] {
  if (!(omittedResults > 0)) return undefined;
  if (objects === undefined) return "trouble";
  const listed = (Array.isArray(results) ? results : []).filter(({ state }) => !sound.has(state)).length;
  return objects.total - objects.inForce - objects.notSelected > listed ? "trouble" : "sound";
}

function lostBecause({ conditions }: NonNullable<NodeState["status"]>): string | undefined {
  const all = Array.isArray(conditions) ? conditions : [];
  if (!all.some(({ type }) => type === lastToldCondition)) return undefined;
  return all.find(({ type }) => type === "Ready")?.reason;
}

export function expandResult(nodeName: string, { said, values }: CompactResult): NodeResult {
  return {
    nodeName,
    state: said.state,
    observedGeneration: said.observedGeneration,
    conditions: said.conditions,
    numbers: Object.fromEntries(said.pointers.map((pointer, at) => [pointer, values[at] ?? 0])),
    texts: said.texts,
  };
}

export type Difference = "none" | "numbers" | "state";

/** What a node says of each object that it says otherwise than before. */
export function changedResults(
  before: NodeReport | undefined,
  after: NodeReport | undefined,
): ReadonlyMap<string, Exclude<Difference, "none">> {
  const changed = new Map<string, Exclude<Difference, "none">>();
  for (const [key, result] of after?.results ?? []) {
    const difference = compare(before?.results.get(key), result);
    if (difference !== "none") changed.set(key, difference);
  }
  for (const key of before?.results.keys() ?? []) if (after?.results.has(key) !== true) changed.set(key, "state");
  return changed;
}

function compare(before: CompactResult | undefined, after: CompactResult): Difference {
  if (before === after) return "none";
  if (before === undefined) return "state";
  if (before.said !== after.said) {
    const [{ pointers: old, ...said }, { pointers, ...now }] = [before.said, after.said];
    if (canonicalJson(said) !== canonicalJson(now)) return "state";
    if (canonicalJson(old) !== canonicalJson(pointers)) return "numbers";
  }
  return before.values.every((value, at) => value === after.values[at]) ? "none" : "numbers";
}
