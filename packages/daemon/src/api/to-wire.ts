import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ObjectRef, Origin } from "@bpfleet/base";
import type { Decision, InstanceCounters } from "@bpfleet/features";
import type {
  HookResult,
  Inventory,
  ItemResult,
  KernelFacts,
  NodeFacts,
  ObservedKernel,
  RuleRef,
} from "@bpfleet/kernel";
import * as wire from "@bpfleet/wire";
import type { HookCounters } from "../counters.ts";
import type { DaemonResults, Explanation, TraceEvent } from "../daemon.ts";

/** The daemon's values as messages. Sets of words stay words; `from-wire.ts` is the inverse. */

export function encodeFacts(facts: NodeFacts): wire.Facts {
  const { release, ...offers } = facts.kernel;
  return create(wire.FactsSchema, {
    nodeName: facts.nodeName,
    cpus: facts.cpus,
    objects: Object.fromEntries(Object.entries(facts.objects).map(([name, { digest }]) => [name, digest])),
    interfaces: facts.interfaces.map((each) => ({ ...each, addresses: [...each.addresses] })),
    kernelRelease: release,
    offers: encodeOffers(offers),
    hashSeed: facts.hashSeed,
    cgroups: { ...facts.cgroups },
    bpffs: [...facts.bpffs],
    ...(facts.bytecode !== undefined && { bytecode: JSON.stringify(facts.bytecode) }),
    ...(facts.pinRoot !== undefined && { pinRoot: facts.pinRoot }),
    labels: { ...facts.labels },
  });
}

function encodeOffers(offers: Omit<KernelFacts, "release">): Record<string, MessageInitShape<typeof wire.OfferSchema>> {
  const known = Object.entries(offers).flatMap(([name, offer]) =>
    offer === undefined ? [] : [[name, offer] as const],
  );
  return Object.fromEntries(
    known.map(([name, offer]) => [name, offer.has ? { has: true } : { has: false, why: offer.why }]),
  );
}

export function encodeResults(results: DaemonResults): wire.Results {
  const { applyMs, trouble, ...rest } = results;
  return create(wire.ResultsSchema, {
    ...rest,
    items: results.items.map(encodeItem),
    healed: results.healed.map((each) => ({ ...each })),
    ...(applyMs === undefined ? {} : { applyMs }),
    ...(trouble === undefined ? {} : { trouble }),
  });
}

function encodeItem({ item, key, state, error, hook }: ItemResult): wire.ItemResult {
  return create(wire.ItemResultSchema, {
    item,
    key,
    state,
    ...(error && {
      error: { code: error.code, message: error.message, ...defined({ detail: error.detail, retry: error.retry }) },
    }),
    ...(hook && { hook: encodeHookResult(hook) }),
  });
}

function encodeHookResult({ mode, chain, memberModes, reason }: HookResult): wire.HookResult {
  return create(wire.HookResultSchema, { mode, chain, memberModes: [...memberModes], ...defined({ reason }) });
}

export function encodeCounters({ owner, labels, reasons, rules, gauges }: InstanceCounters): wire.InstanceCounters {
  return create(wire.InstanceCountersSchema, {
    owner: { ...owner },
    labels: { ...labels },
    reasons: { ...reasons },
    rules: rules.map(({ rule, counter, sinceMs, lastHitMs }) => ({
      rule: encodeRule(rule),
      counter: { ...counter },
      ...(sinceMs !== undefined && { sinceMs }),
      ...(lastHitMs !== undefined && { lastHitMs }),
    })),
    gauges: Object.fromEntries(Object.entries(gauges).map(([name, value]) => [name, { value: encodeGauge(value) }])),
  });
}

function encodeGauge(value: number | bigint): { case: "whole"; value: bigint } | { case: "number"; value: number } {
  return typeof value === "bigint" && value >= 0n ? { case: "whole", value } : { case: "number", value: Number(value) };
}

export function encodeHookCounters({ hook, members }: HookCounters): wire.HookCounters {
  return create(wire.HookCountersSchema, {
    hook,
    members: members.map(({ program, counts }) => ({ program, ...counts, verdicts: { ...counts.verdicts } })),
  });
}

export function encodeRef(ref: ObjectRef): wire.ObjectRef {
  const { group, kind, namespace, name } = ref;
  return create(wire.ObjectRefSchema, { group, kind, namespace, name });
}

function encodeRule({ index, id, text, origin }: RuleRef): wire.RuleRef {
  return create(wire.RuleRefSchema, { index, id, text, origin: encodeOrigin(origin) });
}

function encodeOrigin({ object, path, position }: Origin): wire.Origin {
  return create(wire.OriginSchema, { object: encodeRef(object), path, ...(position && { position: { ...position } }) });
}

function encodeDecision({ owner, verdict, reason, rule, text, isolatedBy = [], peer }: Decision): wire.Decision {
  return create(wire.DecisionSchema, {
    owner: encodeRef(owner),
    verdict,
    reason,
    text,
    ...(rule && { rule: encodeRule(rule) }),
    ...(peer !== undefined && { peer }),
    isolatedBy: isolatedBy.map(encodeOrigin),
  });
}

export function encodeExplanation({ notInForce, ...explanation }: Explanation): wire.Explanation {
  return create(wire.ExplanationSchema, {
    ...explanation,
    ...(notInForce !== undefined && { notInForce }),
    steps: explanation.steps.map(({ owner, decision, ...step }) => ({
      ...step,
      ...(owner && { owner: encodeRef(owner) }),
      ...(decision && { decision: encodeDecision(decision) }),
    })),
  });
}

export function encodeEvents(events: readonly TraceEvent[]): wire.TraceEvents {
  return create(wire.TraceEventsSchema, {
    events: events.map(({ decision, missed, opensFlow, ...event }) => ({
      ...event,
      opensFlow: opensFlow === true,
      decision: encodeDecision(decision),
      ...(missed !== undefined && { missed }),
    })),
  });
}

export function encodeObserved({ maps, programs, hooks }: ObservedKernel): wire.ObservedKernel {
  return create(wire.ObservedKernelSchema, {
    maps: maps.map(({ entries, ...map }) => ({
      ...map,
      pinPaths: [...map.pinPaths],
      definition: { ...map.definition },
      ...(entries && { entries: { ...entries } }),
    })),
    programs: programs.map((program) => ({ ...program, mapIds: [...program.mapIds] })),
    hooks: hooks.map(({ key, generation, members, isAttached, linkId, programId, result }) => ({
      key,
      generation,
      members: [...members],
      isAttached,
      linkId,
      programId,
      result: encodeHookResult(result),
    })),
  });
}

export function encodeInventory({ programs, maps, links }: Inventory): wire.Inventory {
  return create(wire.InventorySchema, {
    programs: programs.map(({ ours, ...program }) => ({
      ...program,
      mapIds: [...program.mapIds],
      ...defined({ ours }),
    })),
    maps: maps.map(({ ours, type, definition, ...map }) => ({
      ...map,
      definition: { ...definition, type },
      ...defined({ ours }),
    })),
    links: links.map(({ ours, ...link }) => ({ ...link, ...defined({ ours }) })),
  });
}

/** Fields that are not there must not be named at all. */
function defined<T extends Record<string, string | undefined>>(fields: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: string;
  };
}
