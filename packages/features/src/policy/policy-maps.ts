import { canonicalJson, fingerprint, type ObjectRef } from "@bpfleet/base";
import type { MapSpec, NodeFacts, RuleRef } from "@bpfleet/kernel";
import { hitsMap, reasonsMap } from "../generated/shared.ts";
import { eventsSpec, lostEventsSpec, traceSpec } from "../node-maps.ts";
import { planRuleCounters } from "../rule-counters.ts";
import {
  accountSize,
  knownNameSize,
  learntKeySize,
  learntSize,
  flowFlag,
  flowSize,
  flowState,
  ownerMark,
  policyAnnexSize,
  policyEndpointSize,
  policyHeaderSize,
  policyLayout,
  policyNamesSize,
  policyMaps,
  portSpace,
  rankedRuleSize,
  ruleFlag,
  verdictTableSize,
} from "./generated/policy.ts";
import { planLimitMaps, type Limits } from "./limit-maps.ts";
import { planServiceMaps, type WrittenServices } from "./services/service-maps.ts";
import { linesInner, planLines } from "./table/line-maps.ts";
import type { WrittenTable } from "./table/write-table.ts";

/** Map name in the object, or role → key. */
export const policyMapKeys = {
  table: "policy/table",
  lines: "policy/lines",
  counters: "policy/counters",
  hits: "policy/rules/hits",
  base: "policy/rules/base",
  flows4: "policy/flows4",
  flows6: "policy/flows6",
  fragments: "policy/fragments",
  accounts: "policy/accounts",
  rates: "policy/connection-rates",
  graces: "policy/graces",
  knownNames: "policy/names",
  learnt: "policy/learnt",
  questions: "policy/questions",
  nameEvents: "policy/name-events",
  bandwidths: "policy/rates",
  trials: "policy/trials",
  trialTotals: "policy/trial-totals",
  reasons: "policy/reasons",
} as const;

const sizes = { flows4: 1 << 17, flows6: 1 << 16, fragments: 1 << 13 } as const;
/** Of endpoints, the gone ones too; there is one for each CPU. */
const accountCount = 1 << 10;
const rateCount = 1 << 12;
/** Where rules are about names: 2.5, 3 and 0.5 MB. */
const nameSizes = { known_names: 1 << 13, learnt: 1 << 14, questions: 1 << 12 } as const;
const trialCount = 1 << 13;

/** Tables of another layout are for other programs: they are other maps from the outermost on. */
const layout = fingerprint(
  canonicalJson([
    policyLayout,
    portSpace,
    ruleFlag,
    ownerMark,
    [policyHeaderSize, policyAnnexSize, policyEndpointSize, verdictTableSize, rankedRuleSize, policyNamesSize],
  ]),
);
const flowLayout = fingerprint(canonicalJson([flowFlag, flowState, flowSize]));

export interface PlannedMaps {
  readonly maps: readonly MapSpec[];
  /** What the programs name. */
  readonly names: Readonly<Record<string, string>>;
  /** Those of an instance by role. */
  readonly roles: Readonly<Record<string, string>>;
}

export function planPolicyMaps(
  written: WrittenTable,
  serial: bigint,
  slot: number,
  rules: readonly RuleRef[],
  owner: ObjectRef,
  keepsAccounts: boolean,
  heedsNames: boolean,
  limits: Limits,
  services?: WrittenServices,
  /** Of what is tried out; nothing is when left out. */
  trialDigest?: string,
  isBeforePrograms = false,
): PlannedMaps {
  const keys = policyMapKeys;
  const [hits, base] = planCounters(rules, slot, owner);
  const serviceMaps = planServiceMaps(services, owner);
  const limitMaps = planLimitMaps(limits, owner);
  const live = (["flows4", "flows6", "fragments"] as const).map((name): MapSpec => ({
    key: keys[name],
    name,
    definition: { ...policyMaps[name], maxEntries: sizes[name] },
    contents: { kind: "live" },
    layout: flowLayout,
    owner,
  }));
  const maps: readonly MapSpec[] = [
    eventsSpec,
    traceSpec,
    lostEventsSpec,
    { key: keys.reasons, name: "reasons", definition: reasonsMap, contents: { kind: "live" }, owner },
    ...live,
    {
      key: keys.accounts,
      name: "accounts",
      // Without accounts it is only named by the programs.
      definition: { ...policyMaps.accounts, maxEntries: keepsAccounts ? accountCount : 1 },
      contents: { kind: "live" },
      layout: String(accountSize),
      owner,
    },
    {
      key: keys.rates,
      name: "connection_rates",
      definition: { ...policyMaps.connection_rates, maxEntries: rateCount },
      contents: { kind: "live" },
      owner,
    },
    {
      key: keys.bandwidths,
      name: "rates",
      definition: { ...policyMaps.rates, maxEntries: rateCount },
      contents: { kind: "live" },
      owner,
    },
    {
      key: keys.graces,
      name: "graces",
      definition: { ...policyMaps.graces, maxEntries: rateCount },
      contents: { kind: "live" },
      // Where flows are forgotten, connections have a grace again.
      layout: flowLayout,
      owner,
    },
    ...(["trials", "trial_totals"] as const).map((name): MapSpec => ({
      key: name === "trials" ? keys.trials : keys.trialTotals,
      name,
      definition:
        name === "trials"
          ? { ...policyMaps.trials, maxEntries: trialDigest === undefined ? 1 : trialCount }
          : policyMaps.trial_totals,
      contents: { kind: "live" },
      // What others were found to do says nothing of these.
      layout: trialDigest ?? "",
      owner,
    })),
    ...serviceMaps.maps,
    ...limitMaps.maps,
    ...nameMaps(heedsNames, owner),
    hits,
    base,
    {
      key: keys.counters,
      name: "counters",
      definition: policyMaps.counters,
      contents: { kind: "refers", inner: hitsMap, takesAnySize: true, entries: [{ slot, map: keys.hits }] },
      owner,
    },
    planLines({ key: policyMapKeys.lines, name: "lines" }, written, { layout, serial, owner }),
    {
      key: keys.table,
      name: "table",
      definition: policyMaps.table,
      contents: {
        kind: "refers",
        inner: linesInner,
        ...(isBeforePrograms && { isBeforePrograms }),
        entries: [{ slot: 0, map: keys.lines }],
      },
      layout,
      owner,
    },
  ];
  const names = {
    events: eventsSpec.key,
    trace: traceSpec.key,
    lost_events: lostEventsSpec.key,
    table: keys.table,
    counters: keys.counters,
    flows4: keys.flows4,
    flows6: keys.flows6,
    fragments: keys.fragments,
    accounts: keys.accounts,
    connection_rates: keys.rates,
    graces: keys.graces,
    rates: keys.bandwidths,
    trials: keys.trials,
    trial_totals: keys.trialTotals,
    ...serviceMaps.names,
    ...limitMaps.names,
    known_names: keys.knownNames,
    learnt: keys.learnt,
    questions: keys.questions,
    name_events: keys.nameEvents,
    reasons: keys.reasons,
  };
  return { maps, names, roles: { ...names, lines: keys.lines, hits: keys.hits, base: keys.base } };
}

/** What was learnt outlives every edit that leaves some rule about names. */
function nameMaps(heedsNames: boolean, owner: ObjectRef): readonly MapSpec[] {
  const keys = policyMapKeys;
  const live = (key: string, name: keyof typeof nameSizes, layout: readonly number[]): MapSpec => ({
    key,
    name,
    definition: { ...policyMaps[name], maxEntries: heedsNames ? nameSizes[name] : 1 },
    contents: { kind: "live" },
    layout: layout.join(),
    owner,
  });
  return [
    live(keys.knownNames, "known_names", [knownNameSize, policyLayout.name_class_bits]),
    live(keys.learnt, "learnt", [learntKeySize, learntSize]),
    live(keys.questions, "questions", []),
    {
      key: keys.nameEvents,
      name: "name_events",
      definition: policyMaps.name_events,
      contents: { kind: "live" },
      // What was added is told beside what is there.
      layout: heedsNames ? String([knownNameSize, learntSize, nameSizes.known_names, nameSizes.learnt]) : "",
      owner,
    },
  ];
}

function planCounters(rules: readonly RuleRef[], slot: number, owner: ObjectRef): readonly [MapSpec, MapSpec] {
  const [hits, base] = planRuleCounters("policy/rules", rules, owner);
  // What facts tell of it later: which slot this list has.
  return [{ ...hits, layout: slotText(slot, rules), types: { key: "__u32", value: "struct counter" } }, base];
}

export const counterSlots = policyMaps.counters.maxEntries;

/**
 * Another slot than the lists before had, so that what goes on by an earlier table counts there; the same list
 * keeps its slot.
 */
export function chooseSlot(rules: readonly RuleRef[], seen: NodeFacts["seenMaps"]): number {
  const earlier = (seen?.[policyMapKeys.hits] ?? []).map((map) => map.layout);
  const digest = digestOf(rules);
  const own = earlier.findLast((text) => text.endsWith(` ${digest}`));
  const slotOf = (text: string): number => Number.parseInt(text, 10);
  if (own !== undefined) return slotOf(own);
  const taken = new Set(earlier.map(slotOf));
  let slot = Number.parseInt(digest.slice(-4), 16) % counterSlots;
  while (taken.has(slot)) slot = (slot + 1) % counterSlots;
  return slot;
}

function slotText(slot: number, rules: readonly RuleRef[]): string {
  return `${slot} ${digestOf(rules)}`;
}

const knownDigests = new WeakMap<readonly RuleRef[], string>();

function digestOf(rules: readonly RuleRef[]): string {
  let digest = knownDigests.get(rules);
  if (digest === undefined) knownDigests.set(rules, (digest = fingerprint(rules.map(({ id }) => id).join())));
  return digest;
}
