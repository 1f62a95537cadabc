import { canonicalJson, renderRef, type ObjectRef } from "@bpfleet/base";
import type { Intent } from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Kind, Lowered, NodeView, Parsed, ResourceView } from "@bpfleet/kinds";
import { bugProblem, guarded } from "./guarded.ts";
import { nodeView, type NodeIdentity } from "./node-view.ts";

/** What all objects ask for, and why some of it cannot be asked for. */
export interface LoweredObjects {
  readonly intents: readonly Intent[];
  readonly problems: readonly PlanProblem[];
}

export interface LowerableObject {
  readonly kind: Pick<Kind, "lower" | "closeRefused">;
  readonly parsed: Parsed;
}

/** What one object became, and what it looked at for that. */
interface Memo {
  readonly lowered: Lowered;
  /** Each left out where nothing was looked at: most objects look at nothing. */
  readonly finds?: readonly (readonly [ObjectRef, Parsed | undefined])[] | undefined;
  readonly lists?: ReadonlyMap<string, readonly Parsed[]> | undefined;
  readonly node: NodeView | undefined;
}

/**
 * Lowers objects, and remembers: an object is lowered again when it is another, or something that it looked at is. A
 * pod that comes or is relabelled is nothing to those that never asked for pods of its namespace.
 */
export class Lowering {
  #memos = new Map<Parsed, Memo>();
  /** What was listed last, so that the same objects are the same list. */
  #lists = new Map<string, readonly Parsed[]>();
  #node: NodeView | undefined;

  lower(objects: readonly LowerableObject[], facts: NodeIdentity): LoweredObjects {
    const sight = new Sight(objects, facts, this.#lists, this.#node);
    const memos = new Map<Parsed, Memo>();
    const intents: Intent[] = [];
    const problems: PlanProblem[] = [];
    for (const { kind, parsed } of objects) {
      const known = this.#memos.get(parsed);
      const memo = known !== undefined && sight.isAsBefore(known) ? known : lowerOne(kind, parsed, sight);
      memos.set(parsed, memo);
      for (const intent of memo.lowered.intents) intents.push(intent);
      for (const problem of memo.lowered.problems) problems.push(problem);
    }
    this.#memos = memos;
    this.#lists = sight.lists;
    this.#node = sight.node;
    return { intents, problems };
  }
}

/** The same without memory. */
export function lowerObjects(objects: readonly LowerableObject[], facts: NodeIdentity): LoweredObjects {
  return new Lowering().lower(objects, facts);
}

function lowerOne(kind: LowerableObject["kind"], parsed: Parsed, sight: Sight): Memo {
  let finds: (readonly [ObjectRef, Parsed | undefined])[] | undefined;
  let lists: Map<string, readonly Parsed[]> | undefined;
  let node: NodeView | undefined;
  const view: ResourceView = {
    find: (ref) => {
      const found = sight.find(ref);
      (finds ??= []).push([ref, found]);
      return found;
    },
    list: (group, name, namespace) => {
      const key = listKey(group, name, namespace);
      const list = sight.list(key);
      (lists ??= new Map()).set(key, list);
      return list;
    },
    get node() {
      return (node = sight.node);
    },
  };
  const lowered = guarded(() => kind.lower(parsed, view));
  return { lowered: "bug" in lowered ? closeUnread(kind, parsed, lowered.bug) : lowered.value, finds, lists, node };
}

function closeUnread(kind: LowerableObject["kind"], parsed: Parsed, bug: unknown): Lowered {
  const closing = kind.closeRefused(parsed);
  const problem = bugProblem(parsed.ref, `read ${renderRef(parsed.ref)}`, bug);
  const message = closing === undefined ? problem.message : `${problem.message}; ${closing.so}`;
  return { intents: closing?.intents ?? [], problems: [{ ...problem, message }] };
}

/** All objects as they are now; equal to before, it is the same value as before. */
class Sight {
  readonly lists = new Map<string, readonly Parsed[]>();
  readonly node: NodeView;
  /** By kind and group, without a text for each of very many. */
  readonly #byKind = new Map<string, Map<string, Parsed[]>>();
  /** Those of kinds that somebody looked into: by kind, then by place. */
  readonly #found = new Map<readonly Parsed[], ReadonlyMap<string, Parsed>>();
  readonly #before: ReadonlyMap<string, readonly Parsed[]>;

  constructor(
    objects: readonly LowerableObject[],
    facts: NodeIdentity,
    before: ReadonlyMap<string, readonly Parsed[]>,
    node: NodeView | undefined,
  ) {
    for (const { parsed } of objects) this.#ofKind(parsed.ref.group, parsed.ref.kind).push(parsed);
    this.#before = before;
    const own: ObjectRef = { group: "", kind: "Node", namespace: "", name: facts.nodeName };
    const now = nodeView(facts, this.find(own)?.object);
    this.node = node !== undefined && canonicalJson(node) === canonicalJson(now) ? node : now;
  }

  find({ group, kind, namespace, name }: ObjectRef): Parsed | undefined {
    const all = this.#ofKind(group, kind);
    let found = this.#found.get(all);
    if (found === undefined) {
      found = new Map(all.map((parsed) => [`${parsed.ref.namespace}/${parsed.ref.name}`, parsed]));
      this.#found.set(all, found);
    }
    return found.get(`${namespace}/${name}`);
  }

  #ofKind(group: string, kind: string): Parsed[] {
    let groups = this.#byKind.get(kind);
    if (groups === undefined) this.#byKind.set(kind, (groups = new Map()));
    let all = groups.get(group);
    if (all === undefined) groups.set(group, (all = []));
    return all;
  }

  list(key: string): readonly Parsed[] {
    const known = this.lists.get(key);
    if (known !== undefined) return known;
    const [group = "", kind = "", namespace] = key.split("/");
    const ofKind = this.#ofKind(group, kind);
    const now = namespace === "*" ? ofKind : ofKind.filter(({ ref }) => ref.namespace === namespace);
    const before = this.#before.get(key);
    const isSame = before?.length === now.length && now.every((parsed, at) => parsed === before[at]);
    const list = isSame ? before : now;
    this.lists.set(key, list);
    return list;
  }

  isAsBefore({ finds, lists, node }: Memo): boolean {
    if (node !== undefined && node !== this.node) return false;
    if (finds?.some(([ref, found]) => this.find(ref) !== found) === true) return false;
    if (lists !== undefined) for (const [key, list] of lists) if (this.list(key) !== list) return false;
    return true;
  }
}

/** No namespace is called `*`. */
function listKey(group: string, kind: string, namespace: string | undefined): string {
  return `${group}/${kind}/${namespace ?? "*"}`;
}
