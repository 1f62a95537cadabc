import type { HookPoint, MapSpec, NodeFacts, ProgramSpec } from "@bpfleet/kernel";
import { instanceIdOf } from "../events.ts";
import { startDraft, type Draft, type FeaturePlan } from "../feature.ts";
import { explainedMap, reasonsMap } from "../generated/shared.ts";
import { eventsSpec, lostEventsSpec, traceSpec } from "../node-maps.ts";
import { planRuleCounters } from "../rule-counters.ts";
import { filterMaps, filterPrograms, filterSize, type FilterGlobals } from "./generated/filter.ts";
import type { FilterIntent, PodCgroup } from "./intent.ts";
import { planLists, type PlannedLists } from "./lists.ts";
import { checkIntent, ticksPerPacket } from "./limits.ts";
import { findPlaces, type Place } from "./places.ts";
import { numberRules, type FilterRules } from "./rules.ts";

export const feature = "filter";

const XDP_PASS = 2;
const TCX_NEXT = -1;
const CGROUP_ALLOW = 1;

/** What `explain` and `counters` need of an instance beside its rules. */
export interface FilterData {
  readonly hook: "xdp" | "tc-ingress" | "tc-egress" | "cgroup";
  readonly direction: "ingress" | "egress";
  readonly interface?: string | undefined;
  readonly pods?: readonly PodCgroup[] | undefined;
  readonly packetsPerSecond?: number | undefined;
  readonly listed: PlannedLists["counts"];
  /** Of the instances that share lists and limits: the one that tells of them. */
  readonly isFirst: boolean;
}

export function planFilter(intents: readonly FilterIntent[], facts: NodeFacts): FeaturePlan {
  const draft = startDraft();
  const taken = new Set<string>();
  for (const intent of intents) {
    const { namespace, name } = intent.origin.object;
    const key = `${feature}/${namespace}/${name}`;
    const parts = partsOf(intent);
    let count = 1;
    const keyOf = (): string => (count === 1 ? key : `${key}/${count}`);
    while (parts.some((part) => taken.has(`${keyOf()} ${part}`))) count++;
    for (const part of parts) taken.add(`${keyOf()} ${part}`);
    planIntent(keyOf(), intent, facts, draft);
  }
  return draft;
}

/**
 * What an intent's keys are made for. Intents of one object that have none in common share its key, so
 * that what pods receive is counted on when an edit divides the directions.
 */
function partsOf({ at, blacklist, rateLimit }: FilterIntent): readonly string[] {
  if (at.hook !== "cgroup") return ["interface"];
  return [...at.directions, ...(blacklist ? ["list"] : []), ...(rateLimit ? ["limit"] : [])];
}

function planIntent(key: string, declared: FilterIntent, facts: NodeFacts, draft: Draft): void {
  const { intent, problems } = checkIntent(declared);
  draft.problems.push(...problems);
  const object = facts.objects[feature];
  if (object === undefined) {
    const message = `load ${key}: the object ${feature} is not among those of this node; reinstall bpfleet`;
    draft.problems.push({ origin: intent.origin, reason: "NotFound", message, severity: "refused" });
    return;
  }
  const programKey = (suffix: string): string => `${key}${suffix}/program`;
  const { places, problems: waiting } = findPlaces(intent, facts, programKey);
  draft.problems.push(...waiting);
  if (places.length === 0) return;

  const owner = intent.origin.object;
  const rules = numberRules(intent);
  const lists = planLists(key, rules.listed, owner);
  const common = planState(key, intent);
  draft.maps.push(eventsSpec, traceSpec, lostEventsSpec, ...lists.maps, ...common.maps);
  const ofNode = { events: eventsSpec.key, trace: traceSpec.key, lost_events: lostEventsSpec.key };
  const names = { ...ofNode, ...lists.names, ...common.names };
  const globals = { ...lists.globals, ...globalsOf(intent, rules, facts) };
  const parts = { key, intent, rules, lists, names: { ...names, ...liveNames(rules) }, globals };
  for (const [index, place] of places.entries()) {
    planPlace({ ...parts, isFirst: index === 0 }, place, { name: feature, digest: object.digest }, draft);
  }
}

interface Parts {
  readonly key: string;
  readonly intent: FilterIntent;
  readonly rules: FilterRules;
  readonly lists: PlannedLists;
  readonly names: Readonly<Record<string, string>>;
  readonly globals: Partial<FilterGlobals>;
  readonly isFirst: boolean;
}

function planPlace(parts: Parts, place: Place, object: ProgramSpec["object"], draft: Draft): void {
  const { intent, rules, lists } = parts;
  const owner = intent.origin.object;
  const key = `${parts.key}${place.suffix}`;
  const [hits, base] = planRuleCounters(key, rules.rules, owner);
  const reasons: MapSpec = {
    key: `${key}/reasons`,
    name: "reasons",
    definition: reasonsMap,
    contents: { kind: "live" },
    owner,
  };
  draft.maps.push(reasons, hits, base);
  const program: ProgramSpec = {
    key: `${key}/program`,
    name: place.entry,
    type: filterPrograms[place.entry],
    object,
    entry: place.entry,
    globals: {
      ...parts.globals,
      ...bucketsOf(key, parts.globals, place),
      instance_id: instanceIdOf(key),
      starts_at_network: place.startsAtNetwork,
      ...(place.takesFragments && { takes_fragments: true }),
    },
    ...(place.takesFragments && { takesFragments: true }),
    maps: { ...parts.names, reasons: reasons.key, hits: hits.key },
    owner,
  };
  const programs = [program];
  attach(program, place.points, intent.priority, draft);
  if (place.tracker && parts.names["flows"] !== undefined) {
    const tracker: ProgramSpec = {
      ...program,
      key: `${key}/tracker`,
      name: "filter_track",
      type: filterPrograms.filter_track,
      entry: "filter_track",
      globals: { starts_at_network: place.startsAtNetwork },
      maps: { flows: parts.names["flows"] },
    };
    programs.push(tracker);
    attach(tracker, place.points.length > 0 ? [place.tracker] : [], intent.priority, draft);
  }
  draft.programs.push(...programs);
  draft.instances.push({
    feature,
    owner,
    key,
    programs: programs.map((spec) => spec.key),
    maps: { ...parts.names, reasons: reasons.key, hits: hits.key, base: base.key },
    rules: rules.rules,
    data: {
      hook: intent.at.hook,
      direction: place.direction,
      interface: place.interface,
      pods: place.pods,
      packetsPerSecond: intent.rateLimit?.packetsPerSecond,
      listed: lists.counts,
      isFirst: parts.isFirst,
    } satisfies FilterData,
  });
}

/** Pods may have equal addresses, 127.0.0.1 at least: each finds its own buckets in the map that they share. */
function bucketsOf(key: string, { hash_seed }: Partial<FilterGlobals>, { pods }: Place): Partial<FilterGlobals> {
  return hash_seed === undefined || pods === undefined ? {} : { hash_seed: hash_seed ^ instanceIdOf(key) };
}

const stateSizes = { buckets: filterSize.bucket_sets, flows: filterSize.flows } as const;

/** Maps that outlive a change of the declaration. */
function planState(key: string, intent: FilterIntent): { maps: readonly MapSpec[]; names: Record<string, string> } {
  const names: Record<string, string> = {};
  if (intent.rateLimit) names["buckets"] = `${key}/buckets`;
  if (intent.rateLimit && intent.isStateful) names["flows"] = `${key}/flows`;
  const owner = intent.origin.object;
  const maps = (["buckets", "flows"] as const)
    .filter((name) => names[name] !== undefined)
    .map((name): MapSpec => ({
      key: `${key}/${name}`,
      name,
      definition: { ...filterMaps[name], maxEntries: stateSizes[name] },
      contents: { kind: "live" },
      owner,
    }));
  return { maps, names };
}

/** `live4_a`, `live4_b`, … in the order in which the maps are consulted. */
const liveSlots = { 4: ["live4_a", "live4_b"], 6: ["live6_a", "live6_b"] } as const;

function liveMaps(rules: FilterRules): { slot: keyof typeof filterMaps; key: string; rule: number }[] {
  return ([4, 6] as const).flatMap((family) =>
    rules.maps
      .filter(({ map }) => map.family === family)
      .slice(0, liveSlots[family].length)
      .map(({ map, rule }, at) => ({ slot: liveSlots[family][at] ?? liveSlots[family][0], key: map.mapKey, rule })),
  );
}

function liveNames(rules: FilterRules): Record<string, string> {
  return Object.fromEntries(liveMaps(rules).map(({ slot, key }) => [slot, key]));
}

function globalsOf(intent: FilterIntent, rules: FilterRules, facts: NodeFacts): Partial<FilterGlobals> {
  const { rateLimit, mark, isStateful } = intent;
  return {
    ...(Object.fromEntries(liveMaps(rules).map(({ slot, rule }) => [`${slot}_rule`, rule])) as Partial<FilterGlobals>),
    ...(rateLimit && {
      rate_rule: rules.rateRule,
      rate_cost: ticksPerPacket(rateLimit.packetsPerSecond),
      hash_seed: BigInt.asUintN(64, BigInt(facts.hashSeed) * 0x9e3779b97f4a7c15n),
      is_stateful: isStateful,
    }),
    ...(mark?.skb && { mark_value: (mark.skb.value & mark.skb.mask) >>> 0, mark_mask: mark.skb.mask >>> 0 }),
    ...(mark?.dscp !== undefined && { has_dscp: true, dscp: mark.dscp }),
    ...(mark?.priorityFromDscp && { has_priority: true }),
  };
}

function attach(program: ProgramSpec, points: readonly HookPoint[], priority: number, draft: Draft): void {
  const proceedOn =
    { xdp: [XDP_PASS], sched_cls: [TCX_NEXT], cgroup_skb: [CGROUP_ALLOW] }[program.type as string] ?? [];
  for (const point of points) draft.attachments.push({ point, member: { program: program.key, priority, proceedOn } });
}

/** The map that a dry run writes; it is made with the twin and goes with it. */
export const scratch = { name: "explained", definition: explainedMap };
