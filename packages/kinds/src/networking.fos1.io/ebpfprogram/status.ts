import { sameRef } from "@bpfleet/base";
import type { InstanceCounters } from "@bpfleet/features";
import { isInterfacePoint, placeOf, type HookSpec, type NodePlan, type RuleRef } from "@bpfleet/kernel";
import type { Outcome, Parsed } from "../../kind.ts";
import { stampStatus } from "../../status/conditions.ts";
import type { Aspect } from "../../status/conditions.ts";
import { aspectOf, ObjectFate, readyAspect } from "../../status/fate.ts";
import type { Fate } from "../../status/fate.ts";
import { renderPath } from "../../yaml/places.ts";
import { addGauges, podMetrics, podNames } from "./pods.ts";
import type { EBPFProgram, EBPFProgramStatus } from "./schema.ts";

export const programConditions = {
  Ready: "The program is in force as declared; else what keeps it from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Loaded: "The verifier took the programs, and their maps are there.",
  Attached: "The programs run at their hook.",
};

const maxRules = 10;
const maxPlaces = 5;

type Metrics = NonNullable<EBPFProgramStatus["metrics"]>;

/** What became of an EBPFProgram on this node, from the results of the last plan. */
export function programStatus(parsed: Parsed<EBPFProgram>, outcome: Outcome): EBPFProgramStatus {
  const fate = new ObjectFate(parsed.ref, outcome);
  const hooks = fate.hooks();
  const [accepted, loaded, attached] = [fate.accepted(), loadedAspect(fate), attachedAspect(fate, hooks, outcome)];
  const ready = readyAspect([accepted, loaded, attached], "in force");
  const running = hooks.filter((hook) => fate.result("hook", hook.key)?.state === "in-force");
  const isFailed = accepted.status === "False" || hasFailed(fate, hooks);
  const state = isFailed ? "Failed" : ready.status === "True" ? "Active" : "Pending";
  const fields: Omit<EBPFProgramStatus, "conditions" | "lastUpdated" | "observedGeneration"> = {
    state,
    ...(ready.status === "True" ? {} : { reason: ready.message }),
    ...(running.length > 0 && !outcome.isPaused
      ? { attachedTo: places(running, outcome.plan), mode: modeOf(fate, ofType(parsed.object.spec.type, running)) }
      : {}),
    node: outcome.nodeName,
    ...metricsOf(parsed, outcome),
  };
  return stampStatus(fields, [ready, accepted, loaded, attached], parsed.object.metadata.generation, outcome);
}

function hasFailed(fate: ObjectFate, hooks: readonly HookSpec[]): boolean {
  const fates = [
    fate.fateOf("map", fate.mapKeys()),
    fate.fateOf("program", fate.programKeys()),
    fate.fateOf(
      "hook",
      hooks.map((hook) => hook.key),
    ),
  ];
  return fates.some(({ state }) => state === "failed");
}

function loadedAspect(fate: ObjectFate): Aspect {
  const keys = fate.programKeys();
  if (keys.length === 0) return aspectOf("Loaded", notPlanned(fate), { reason: "Loaded", message: "" });
  const [maps, programs] = [fate.fateOf("map", fate.mapKeys()), fate.fateOf("program", keys)];
  const message = keys.length === 1 ? "the program is loaded" : `${keys.length} programs are loaded`;
  return aspectOf("Loaded", maps.state === "failed" ? maps : programs, { reason: "Loaded", message });
}

function attachedAspect(fate: ObjectFate, hooks: readonly HookSpec[], outcome: Outcome): Aspect {
  if (outcome.isPaused) {
    return {
      type: "Attached",
      status: "False",
      reason: "Paused",
      message: "everything is detached by `ebpfctl pause`; `ebpfctl resume` attaches it again",
    };
  }
  const [waiting] = fate.problemsOf("waiting");
  if (hooks.length === 0) return aspectOf("Attached", notPlanned(fate), { reason: "Attached", message: "" });
  const attached = aspectOf(
    "Attached",
    fate.fateOf(
      "hook",
      hooks.map((hook) => hook.key),
    ),
    {
      reason: "Attached",
      message: `runs on ${places(hooks, outcome.plan)}${downNote(hooks, outcome)}${genericNote(fate, hooks)}`,
    },
  );
  if (attached.status !== "True" || waiting === undefined) return attached;
  return { type: "Attached", status: "False", reason: waiting.reason, message: waiting.message };
}

/** Why the plan holds nothing of the object. */
function notPlanned(fate: ObjectFate): Fate {
  const [first] = [...fate.problemsOf("refused"), ...fate.problemsOf("waiting"), ...fate.problemsOf("note")];
  if (first === undefined) return { state: "pending", reason: "InProgress", message: "not planned yet" };
  return { state: "pending", reason: first.reason, message: first.message };
}

function downNote(hooks: readonly HookSpec[], outcome: Outcome): string {
  const names = hooks.flatMap(({ point }) => (isInterfacePoint(point) ? [point.interface] : []));
  const down = outcome.interfaces.find((facts) => names.includes(facts.name) && !facts.isUp);
  return down === undefined ? "" : `, which is down`;
}

/** XDP that the driver does not run costs more: it says why. */
function genericNote(fate: ObjectFate, hooks: readonly HookSpec[]): string {
  const results = hooks.map((hook) => fate.result("hook", hook.key)?.hook);
  const generic = results.find((result) => result?.mode === "skb");
  if (generic === undefined) return "";
  return `, not in the driver but in the kernel's generic path${generic.reason === undefined ? "" : ` (${generic.reason})`}`;
}

function places(hooks: readonly HookSpec[], plan: NodePlan): string {
  const names = [...new Set(hooks.flatMap((hook) => placesOf(hook, plan)))].toSorted();
  const rest = names.length - maxPlaces;
  return rest > 0 ? `${names.slice(0, maxPlaces).join(", ")} and ${rest} more` : names.join(", ");
}

function placesOf(hook: HookSpec, plan: NodePlan): readonly string[] {
  return hook.point.hook === "cgroup" ? podNames(hook, plan) : [placeOf(hook.point)];
}

/** The hooks of the program itself, without those that only track flows for it. */
function ofType(type: EBPFProgram["spec"]["type"], hooks: readonly HookSpec[]): readonly HookSpec[] {
  return hooks.filter(({ point }) =>
    point.hook === "tc" ? type === `tc-${point.direction}` : point.hook === "cgroup" || point.hook === type,
  );
}

function modeOf(fate: ObjectFate, hooks: readonly HookSpec[]): string {
  const programs = new Set(fate.programKeys());
  const modes = hooks.flatMap((hook) => {
    const result = fate.result("hook", hook.key)?.hook;
    if (result === undefined) return [];
    const at = hook.members.findIndex((member) => programs.has(member.program));
    const inChain = result.chain === "chain" ? result.memberModes[at] : undefined;
    return [inChain === undefined ? result.mode : `${result.mode}, ${inChain}`];
  });
  return [...new Set(modes)].join("; ");
}

function metricsOf(parsed: Parsed<EBPFProgram>, outcome: Outcome): { metrics?: Metrics } {
  const mine = outcome.counters.filter((counters) => sameRef(counters.owner, parsed.ref));
  if (mine.length === 0) return {};
  const passes = new Set(outcome.passReasons);
  const totals = { passed: [0n, 0n] as [bigint, bigint], dropped: [0n, 0n] as [bigint, bigint] };
  const reasons = new Map<string, [bigint, bigint]>();
  for (const [reason, { packets, bytes }] of mine.flatMap((counters) => Object.entries(counters.reasons))) {
    add(passes.has(reason) ? totals.passed : totals.dropped, packets, bytes);
    const total = reasons.get(reason) ?? [0n, 0n];
    add(total, packets, bytes);
    reasons.set(reason, total);
  }
  const pods = podMetrics(mine, passes);
  return {
    metrics: {
      packetsPassed: Number(totals.passed[0]),
      bytesPassed: Number(totals.passed[1]),
      packetsDropped: Number(totals.dropped[0]),
      bytesDropped: Number(totals.dropped[1]),
      reasons: [...reasons]
        .filter(([, [packets]]) => packets > 0n)
        .map(([reason, [packets, bytes]]) => ({ reason, packets: Number(packets), bytes: Number(bytes) })),
      rules: topRules(mine),
      gauges: addGauges(mine),
      ...(pods.length > 0 && { pods: [...pods] }),
    },
  };
}

/** A rule counts in each instance of its object. */
function topRules(counters: readonly InstanceCounters[]): Metrics["rules"] {
  const rules = new Map<string, { readonly rule: RuleRef; readonly total: [bigint, bigint] }>();
  for (const { rule, counter } of counters.flatMap((each) => each.rules)) {
    if (counter.packets === 0n) continue;
    const key = `${rule.origin.path} ${rule.text}`;
    const known = rules.get(key) ?? { rule, total: [0n, 0n] };
    add(known.total, counter.packets, counter.bytes);
    rules.set(key, known);
  }
  return [...rules.values()]
    .toSorted((a, b) => (a.total[0] === b.total[0] ? a.rule.index - b.rule.index : a.total[0] > b.total[0] ? -1 : 1))
    .slice(0, maxRules)
    .map(({ rule, total: [packets, bytes] }) => ({
      rule: rule.text,
      field: `${rule.origin.object.kind} ${rule.origin.object.name} ${renderPath(rule.origin.path)}`,
      packets: Number(packets),
      bytes: Number(bytes),
    }));
}

function add(total: [bigint, bigint], packets: bigint, bytes: bigint): void {
  total[0] += packets;
  total[1] += bytes;
}
