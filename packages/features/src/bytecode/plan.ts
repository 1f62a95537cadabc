import { refKey } from "@bpfleet/base";
import {
  programContent,
  renderSource,
  type BytecodeReady,
  type FeatureInstance,
  type MapSpec,
  type NodeFacts,
  type PlanProblem,
  type ProgramSpec,
  type SeenMap,
} from "@bpfleet/kernel";
import type { Attachment, FeaturePlan } from "../feature.ts";
import type { BytecodeIntent } from "./intent.ts";
import { describeMapChange, isSameMap } from "./map-change.ts";
import { findSpots, type Spot } from "./places.ts";
import { readIntent, type ReadIntent } from "./read-intent.ts";
import { uuidOf } from "./uuid.ts";

export const feature = "bytecode";

/** What people are told of a program beside what the plan says. */
export interface BytecodeData {
  readonly uuid: string;
  /** Reference of the image or path of the file. */
  readonly source?: string | undefined;
  readonly interface?: string | undefined;
  readonly section: string;
  readonly entry: string;
  readonly objectDigest: string;
  readonly imageDigest?: string | undefined;
  readonly signature: string;
}

interface Draft {
  readonly maps: MapSpec[];
  readonly programs: ProgramSpec[];
  readonly attachments: Attachment[];
  readonly instances: FeatureInstance[];
  readonly problems: PlanProblem[];
}

interface Wish {
  readonly intent: BytecodeIntent;
  readonly read: ReadIntent;
  readonly spots: readonly Spot[];
}

/** Each intent by itself: what is wrong with one never keeps another from running. */
export function planBytecode(intents: readonly BytecodeIntent[], facts: NodeFacts): FeaturePlan {
  const draft: Draft = { maps: [], programs: [], attachments: [], instances: [], problems: [] };
  const wishes: Wish[] = [];
  for (const intent of intents) {
    const read = readIntent(intent, facts, draft.problems);
    if (read === undefined) {
      keepEarlier(intent, facts, draft);
      continue;
    }
    const { spots, problems } = findSpots(intent, facts);
    draft.problems.push(...problems);
    wishes.push({ intent, read, spots });
  }
  const sharing = new Sharing(intents, wishes);
  for (const wish of wishes) {
    const shared = sharing.resolve(wish, draft.problems);
    if (shared === undefined) {
      keepEarlier(wish.intent, facts, draft);
      continue;
    }
    for (const spot of wish.spots) planSpot(wish, spot, shared, facts, draft);
    keepFormer(wish.intent, facts, draft);
  }
  return draft;
}

/** While a changed declaration cannot be served, what ran before it goes on, as it was. */
function keepEarlier(intent: BytecodeIntent, facts: NodeFacts, draft: Draft): void {
  const { origin } = intent;
  const earlier = facts.earlierPlans?.[refKey(origin.object)];
  if (earlier === undefined || earlier.programs.length === 0) return;
  if (isRevoked(intent, facts, earlier.instances)) {
    const message =
      "what ran was detached, since the image policy of this node no longer takes it; the annotation bpfleet.io/on-revoke: keep lets it run on";
    draft.problems.push({ origin, reason: "Revoked", message, severity: "note" });
    return;
  }
  draft.maps.push(...earlier.maps);
  draft.programs.push(...earlier.programs);
  draft.attachments.push(...earlier.attachments);
  draft.instances.push(...earlier.instances);
  const message = "until then the earlier program goes on, with its maps";
  draft.problems.push({ origin, reason: "EarlierInForce", message, severity: "note" });
}

/** What ran at another place goes on there until what replaces it is in force. */
function keepFormer({ origin }: BytecodeIntent, facts: NodeFacts, draft: Draft): void {
  const owner = refKey(origin.object);
  const earlier = facts.earlierPlans?.[owner];
  const own = draft.programs.filter((spec) => spec.owner !== undefined && refKey(spec.owner) === owner);
  const keys = new Set(own.map(({ key }) => key));
  const former = new Set(earlier?.programs.map(({ key }) => key).filter((key) => !keys.has(key)));
  if (earlier === undefined || own.length === 0 || former.size === 0) return;
  const proven = new Map(earlier.programs.map((spec) => [spec.key, programContent(spec)]));
  const isServed = own.every(
    (spec) =>
      facts.areEarlierPlansProven === true &&
      proven.get(spec.key) === programContent(spec) &&
      draft.attachments.some(({ member }) => member.program === spec.key),
  );
  if (isServed) return;
  const programs = earlier.programs.filter(({ key }) => former.has(key));
  const used = new Set(programs.flatMap(({ maps }) => Object.values(maps)));
  const planned = new Set(draft.maps.map(({ key }) => key));
  draft.maps.push(...earlier.maps.filter(({ key }) => used.has(key) && !planned.has(key)));
  draft.programs.push(...programs);
  draft.attachments.push(...earlier.attachments.filter(({ member }) => former.has(member.program)));
  draft.instances.push(...earlier.instances.filter((each) => each.programs.every((key) => former.has(key))));
  const message = "until it runs at its new place the earlier program goes on at the old one";
  draft.problems.push({ origin, reason: "EarlierInForce", message, severity: "note" });
}

/** The policy refuses the very source of what runs; refused upgrades from another one leave what runs alone. */
function isRevoked(
  { source, keepsRevoked = false }: BytecodeIntent,
  { bytecode }: NodeFacts,
  instances: readonly FeatureInstance[],
): boolean {
  const found = bytecode?.[renderSource(source)];
  if (keepsRevoked || found?.state !== "failed" || found.reason !== "SignatureRefused") return false;
  return instances.some(({ data }) => (data as BytecodeData).source === nameOf(source));
}

function nameOf(source: BytecodeIntent["source"]): string {
  return source.from === "file" ? source.path : source.reference;
}

function planSpot(
  { intent, read }: Wish,
  spot: Spot,
  shared: ReadonlyMap<string, string>,
  facts: NodeFacts,
  draft: Draft,
): void {
  const { ready, program, type, globals } = read;
  const owner = intent.origin.object;
  const uuid = spotUuid(intent, spot);
  const key = spotKey(intent, spot);
  const object = { name: `bytecode/${ready.objectDigest}`, digest: ready.objectDigest };
  const names: Record<string, string> = {};
  for (const map of ready.maps) {
    const elsewhere = shared.get(map.name);
    names[map.name] = elsewhere ?? mapKey(key, map.name);
    if (elsewhere !== undefined) continue;
    const spec: MapSpec = {
      key: mapKey(key, map.name),
      name: map.name.slice(0, 15),
      definition: map.definition,
      contents: { kind: "live" },
      layout: map.layout,
      types: { key: map.keyType, value: map.valueType },
      declaredIn: { object, map: map.name },
      ...(facts.pinRoot !== undefined && { pinPath: `${facts.pinRoot}/maps/${uuid}/${map.name}` }),
      owner,
    };
    draft.maps.push(spec);
    noteChange(intent, map.name, spec.key, map, facts, draft.problems);
  }
  const spec: ProgramSpec = {
    key: `${key}/program`,
    name: program.entry.slice(0, 15),
    type,
    object,
    entry: program.entry,
    globals,
    maps: names,
    owner,
    ...(read.attachTarget !== undefined && { attachTarget: read.attachTarget }),
  };
  draft.programs.push(spec);
  noteVariables(intent, ready, spec, facts, draft.problems);
  const member = { program: spec.key, priority: intent.priority, proceedOn: intent.proceedOn };
  for (const point of spot.points(spec.key)) draft.attachments.push({ point, member });
  draft.instances.push({
    feature,
    owner,
    key,
    programs: [spec.key],
    maps: names,
    rules: [],
    data: {
      uuid,
      source: nameOf(intent.source),
      interface: spot.interface,
      section: program.section,
      entry: program.entry,
      objectDigest: ready.objectDigest,
      imageDigest: ready.imageDigest,
      signature: ready.signature,
    } satisfies BytecodeData,
  });
}

/** A map that is not as it was cannot be kept: what it held is gone, and that is said. */
function noteChange(
  { origin }: BytecodeIntent,
  name: string,
  key: string,
  now: SeenMap,
  facts: NodeFacts,
  problems: PlanProblem[],
): void {
  const before = facts.seenMaps?.[key]?.findLast((seen) => !isSameMap(seen, now));
  if (before === undefined) return;
  const message = `map ${name} changed: ${describeMapChange(before, now)}; it is made anew for this version of the program, without what it held`;
  problems.push({ origin, reason: "MapChanged", message, severity: "note" });
}

/** What a program writes outside its maps belongs to one load of it. */
function noteVariables(
  { origin }: BytecodeIntent,
  { globals }: BytecodeReady,
  spec: ProgramSpec,
  facts: NodeFacts,
  problems: PlanProblem[],
): void {
  const now = programContent(spec);
  if (facts.seenPrograms?.[spec.key]?.every((seen) => seen === now) ?? true) return;
  const written = globals.filter(({ section }) => /^\.(data|bss)/.test(section)).map(({ name }) => name);
  if (written.length === 0) return;
  const shown =
    written.length > 8 ? `${written.slice(0, 8).join(", ")} and ${written.length - 8} more` : written.join(", ");
  const message = `variables ${shown} began anew with this version of the program, without what they held; what is to outlive an upgrade belongs in a map`;
  problems.push({ origin, reason: "VariablesAnew", message, severity: "note" });
}

function spotUuid({ origin: { object } }: BytecodeIntent, spot: Spot): string {
  return uuidOf([object.kind, object.namespace, object.name, spot.name].join("\n"));
}

function spotKey(intent: BytecodeIntent, spot: Spot): string {
  return `${feature}/${intent.origin.object.name}/${spotUuid(intent, spot)}`;
}

function mapKey(key: string, map: string): string {
  return `${key}/maps/${map}`;
}

/** Whose map a program uses when it names another config's. */
class Sharing {
  readonly #intents: readonly BytecodeIntent[];
  readonly #wishes: readonly Wish[];

  constructor(intents: readonly BytecodeIntent[], wishes: readonly Wish[]) {
    this.#intents = intents;
    this.#wishes = wishes;
  }

  /** Map name → key of the map that is used; `undefined` when one cannot be had. */
  resolve(wish: Wish, problems: PlanProblem[]): ReadonlyMap<string, string> | undefined {
    const shared = new Map<string, string>();
    let isRefused = false;
    for (const [name, { config, origin }] of Object.entries(wish.intent.sharedMaps)) {
      const found = this.#find(wish, name, config);
      if ("key" in found) shared.set(name, found.key);
      else {
        problems.push({ origin, ...found });
        isRefused = true;
      }
    }
    return isRefused ? undefined : shared;
  }

  #find(wish: Wish, name: string, config: string): { key: string } | Omit<PlanProblem, "origin"> {
    const own = wish.read.ready.maps.find((map) => map.name === name);
    const refused = (reason: string, message: string) => ({ reason, message, severity: "refused" }) as const;
    const what = `share map ${name} of ${config}`;
    if (own === undefined) {
      const there = wish.read.ready.maps.map((map) => map.name).join(", ");
      return refused("SharedMapMissing", `${what}: the object has no map ${name}; it has ${there || "none"}`);
    }
    let holder: Wish | undefined = wish;
    const visited = new Set<string>();
    for (let next: string | undefined = config; next !== undefined;) {
      if (visited.has(next)) return refused("SharedMapCircle", `${what}: ${[...visited, next].join(" shares with ")}`);
      visited.add(next);
      holder = this.#wishOf(wish.intent, next);
      if (holder === undefined) return this.#absent(wish.intent, next, what);
      next = holder.intent.sharedMaps[name]?.config;
    }
    const theirs = holder.read.ready.maps.find((map) => map.name === name);
    if (theirs === undefined) return refused("SharedMapMissing", `${what}: its object has no map ${name}`);
    if (!isSameMap(theirs, own)) {
      const { name: holderName } = holder.intent.origin.object;
      const message = `${what}: ${wish.intent.origin.object.name} and ${holderName} declare it differently: ${describeMapChange(theirs, own)}`;
      return refused("SharedMapDiffers", message);
    }
    const [spot] = holder.spots;
    if (spot === undefined)
      return { reason: "SharedMapWaiting", message: `${what}: it has no place to run yet`, severity: "waiting" };
    return { key: mapKey(spotKey(holder.intent, spot), name) };
  }

  #wishOf(asking: BytecodeIntent, config: string): Wish | undefined {
    return this.#wishes.find(({ intent }) => isConfig(intent, asking, config));
  }

  #absent(asking: BytecodeIntent, config: string, what: string): Omit<PlanProblem, "origin"> {
    const isThere = this.#intents.some((intent) => isConfig(intent, asking, config));
    const why = isThere ? "it is not loaded" : `there is no ${asking.origin.object.kind} ${config} on this node`;
    return { reason: "SharedMapWaiting", message: `${what}: ${why}; this program waits for it`, severity: "waiting" };
  }
}

function isConfig({ origin: { object } }: BytecodeIntent, asking: BytecodeIntent, config: string): boolean {
  const { kind, namespace } = asking.origin.object;
  return object.kind === kind && object.namespace === namespace && object.name === config;
}
