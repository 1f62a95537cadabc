import type { LabelSource, Requirement } from "../policy.ts";

/** What selectors ask about. */
export type Labels = Readonly<Record<string, string>>;

export interface Labelled {
  /** The source whose labels are its own: `pod`, `node`, `service`. */
  readonly own: "pod" | "node" | "service";
  readonly labels: Labels;
  /** `undefined` where there is none, or it is not known. */
  readonly namespace?: string | undefined;
  readonly namespaceLabels?: Labels | undefined;
  /** It may have labels beside those. */
  readonly isNamespaceUnknown?: true | undefined;
  readonly serviceAccount?: string | undefined;
}

/** There is one cluster, and Cilium calls it so. */
const clusterName = "default";

/** The keys that some selectors look at. */
export class AskedKeys {
  readonly #keys = new Map<LabelSource, Set<string>>();

  ask(where: readonly Requirement[]): void {
    for (const { on, key } of where) {
      const keys = this.#keys.get(on);
      if (keys === undefined) this.#keys.set(on, new Set([key]));
      else keys.add(key);
    }
  }

  /** Equal where the same is asked for. */
  get text(): string {
    const lines = [...this.#keys].map(([on, keys]) => [on, ...[...keys].toSorted()].join("\0"));
    return lines.toSorted().join("\0\0");
  }

  asks(on: LabelSource): boolean {
    return this.#keys.has(on);
  }

  /** What a thing has under them: source, key, value, one after the other. */
  valuesOf(thing: Labelled): string[] {
    const values: string[] = [];
    this.#take(thing.own, thing.labels, values);
    if (thing.namespaceLabels !== undefined) this.#take("namespace-label", thing.namespaceLabels, values);
    this.#takeOne("namespace-name", thing.namespace, values);
    this.#takeOne("service-account", thing.serviceAccount, values);
    this.#takeOne("cluster", clusterName, values);
    return values;
  }

  #take(on: LabelSource, labels: Labels, values: string[]): void {
    const keys = this.#keys.get(on);
    if (keys === undefined) return;
    for (const key in labels) if (keys.has(key) && Object.hasOwn(labels, key)) values.push(on, key, labels[key] ?? "");
  }

  #takeOne(on: LabelSource, value: string | undefined, values: string[]): void {
    if (value !== undefined && value !== "" && this.#keys.get(on)?.has("")) values.push(on, "", value);
  }
}

interface Posting {
  readonly all: number[];
  readonly byValue: Map<string, number[]>;
}

const nobody: readonly number[] = [];

/** Finds the things that a selector selects without asking all of them. */
export class LabelIndex {
  readonly #asked: AskedKeys;
  readonly #numbers = new Map<string, number>();
  readonly #postings = new Map<LabelSource, Map<string, Posting>>();
  readonly #everybody: number[] = [];
  /** Ascending: those of namespaces of which nobody knows all labels. */
  readonly #unsure: number[] = [];

  constructor(asked: AskedKeys) {
    this.#asked = asked;
  }

  get size(): number {
    return this.#everybody.length;
  }

  /** All labels of all things are known, as far as they are asked for. */
  get isSure(): boolean {
    return this.#unsure.length === 0;
  }

  /** A number for the thing; one for all things that no asked key, nor `further`, tells apart. */
  add(thing: Labelled, further = ""): number {
    const values = this.#asked.valuesOf(thing);
    const isUnsure = thing.isNamespaceUnknown === true && this.#asked.asks("namespace-label");
    const key = `${values.join("\0")}\0\0${thing.own}\0${isUnsure}\0${further}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#everybody.length;
    this.#numbers.set(key, number);
    this.#everybody.push(number);
    if (isUnsure) this.#unsure.push(number);
    for (let at = 0; at + 2 < values.length; at += 3)
      this.#post(values[at] as LabelSource, values[at + 1] ?? "", values[at + 2] ?? "", number);
    return number;
  }

  #post(on: LabelSource, key: string, value: string, number: number): void {
    let keys = this.#postings.get(on);
    if (keys === undefined) this.#postings.set(on, (keys = new Map()));
    let posting = keys.get(key);
    if (posting === undefined) keys.set(key, (posting = { all: [], byValue: new Map() }));
    posting.all.push(number);
    const same = posting.byValue.get(value);
    if (same === undefined) posting.byValue.set(value, [number]);
    else same.push(number);
  }

  /**
   * Ascending numbers of what meets all requirements. Only keys that were asked for may be among them. `certain`:
   * without those of which it is not known.
   */
  select(where: readonly Requirement[], how: "perhaps" | "certain" = "perhaps"): readonly number[] {
    if (where.length === 0) return this.#everybody;
    const lists = where.map((requirement) => this.#candidates(requirement));
    let least = 0;
    for (const [at, list] of lists.entries()) if (list.length < (lists[least]?.length ?? 0)) least = at;
    let selected = lists[least] ?? nobody;
    for (const [at, requirement] of where.entries()) {
      if (selected.length === 0) return nobody;
      const list = lists[at] ?? nobody;
      if (at !== least && list !== this.#everybody) selected = intersect(selected, list);
      if (requirement.operator === "NotIn" || requirement.operator === "DoesNotExist")
        selected = subtract(selected, this.#excluded(requirement));
      if (how === "certain") selected = subtract(selected, this.#unknown(requirement));
    }
    return selected;
  }

  /** Of a requirement that excludes: everybody. */
  #candidates({ on, key, operator, values }: Requirement): readonly number[] {
    switch (operator) {
      case "Exists":
        return this.#posting(on, key)?.all ?? nobody;
      case "In":
        return this.#having(on, key, values);
      case "NotIn":
      case "DoesNotExist":
        return this.#everybody;
    }
  }

  #excluded({ on, key, operator, values }: Requirement): readonly number[] {
    return operator === "NotIn" ? this.#having(on, key, values) : (this.#posting(on, key)?.all ?? nobody);
  }

  /** Those of which nobody knows that they are without the label. */
  #unknown({ on, key, operator }: Requirement): readonly number[] {
    if (on !== "namespace-label" || operator === "In" || operator === "Exists" || this.#unsure.length === 0)
      return nobody;
    return subtract(this.#unsure, this.#posting(on, key)?.all ?? nobody);
  }

  #having(on: LabelSource, key: string, values: readonly string[]): readonly number[] {
    const posting = this.#posting(on, key);
    if (posting === undefined) return nobody;
    const [first, ...others] = new Set(values);
    const found = first === undefined ? nobody : (posting.byValue.get(first) ?? nobody);
    if (others.length === 0) return found;
    return [found, ...others.map((value) => posting.byValue.get(value) ?? nobody)].flat().toSorted((a, b) => a - b);
  }

  #posting(on: LabelSource, key: string): Posting | undefined {
    return this.#postings.get(on)?.get(key);
  }
}

/** Of ascending lists. */
function intersect(some: readonly number[], others: readonly number[]): readonly number[] {
  if (others.length > some.length * 32) return some.filter((number) => holds(others, number));
  const both: number[] = [];
  let at = 0;
  for (const number of some) {
    while (at < others.length && (others[at] ?? 0) < number) at++;
    if (others[at] === number) both.push(number);
  }
  return both;
}

function subtract(some: readonly number[], others: readonly number[]): readonly number[] {
  return others.length === 0 ? some : some.filter((number) => !holds(others, number));
}

function holds(list: readonly number[], number: number): boolean {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((list[middle] ?? 0) < number) low = middle + 1;
    else high = middle;
  }
  return list[low] === number;
}
