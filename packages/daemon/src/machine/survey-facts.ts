import {
  emptyPlan,
  identityKey,
  isInterfacePoint,
  parseHookKey,
  planGenerations,
  type HookPoint,
  type Inventory,
  type NodeFacts,
  type NodePlan,
  type ObservedKernel,
} from "@bpfleet/kernel";
import type { DaemonResults } from "../daemon.ts";
import type { Finding, KeyOwner, ProgramPlace } from "./machine.ts";

export function placesOf({ hooks }: ObservedKernel): ProgramPlace[] {
  return hooks.flatMap(({ key, members }) =>
    members.map((programId, at) => ({ programId, hook: key, position: at + 1, members: members.length })),
  );
}

/** Of a program that was not replaced yet, what it is, not what is to come. */
export function ownersOf(plan: NodePlan, { earlierPlans = {} }: NodeFacts, observed: ObservedKernel): KeyOwner[] {
  const earlier = Object.values(earlierPlans).map((part) => ({ ...emptyPlan, ...part, hooks: [] }));
  const known = [plan, ...earlier].flatMap(generationsIn);
  const running = Map.groupBy(observed.programs, ({ key }) => key);
  return [
    ...plan.maps.map(({ key, owner }) => ({ key, owner })),
    ...plan.programs.map(({ key, owner }) => {
      const generations = running.get(identityKey(key))?.map(({ generation }) => generation);
      const found = known.find(
        (each) => each.key === key && (generations === undefined || generations.includes(each.generation)),
      );
      return { key, owner, ...found?.from };
    }),
  ];
}

interface Known {
  readonly key: string;
  readonly generation: string;
  readonly from: { readonly objectDigest: string; readonly imageDigest?: string };
}

function generationsIn(plan: NodePlan): Known[] {
  const { programs } = planGenerations(plan);
  const images = new Map(
    plan.instances.flatMap(({ programs: keys, data }) => {
      const digest = (data as { readonly imageDigest?: unknown } | undefined)?.imageDigest;
      return typeof digest === "string" ? keys.map((key) => [key, digest] as const) : [];
    }),
  );
  return plan.programs.map(({ key, object }) => {
    const imageDigest = images.get(key);
    const from = { objectDigest: object.digest, ...(imageDigest !== undefined && { imageDigest }) };
    return { key, generation: programs.get(key)?.generation ?? "", from };
  });
}

export function findingsOf(
  plan: NodePlan,
  observed: ObservedKernel,
  { links }: Inventory,
  results: DaemonResults,
): Finding[] {
  const findings: Finding[] = [];
  const orphan = (item: string, key: string): void =>
    void findings.push({ kind: "orphan", key, text: `no object on this node wants this ${item} any more` });
  const wanted = (items: readonly { readonly key: string }[]) => new Set(items.map(({ key }) => key));
  const [maps, programs, hooks] = [wanted(plan.maps), wanted(plan.programs), wanted(plan.hooks)];
  for (const { key } of observed.maps) if (!maps.has(key)) orphan("map", key);
  for (const { key } of observed.programs) if (!programs.has(key)) orphan("program", key);
  for (const { key } of observed.hooks) if (!hooks.has(key)) orphan("hook", key);
  for (const { item, key, error } of results.items)
    if (item === "hook" && error?.code === "busy") findings.push({ kind: "conflict", key, text: error.message });
  for (const key of hooks) {
    const point = parseHookKey(key);
    if (point === undefined || !isInterfacePoint(point)) continue;
    for (const { id, type, programId, target, ours } of links) {
      if (ours !== undefined || !isOn(point, type, target)) continue;
      const by = id === 0 ? (type === "cls_bpf" ? "by a filter" : "without a link") : `by link ${id}`;
      findings.push({ kind: "conflict", key, text: `foreign program ${programId} is on it too, ${by}: ${target}` });
    }
  }
  for (const { item, key, what } of results.healed) findings.push({ kind: "healed", key, text: `${item}: ${what}` });
  return findings;
}

function isOn(point: Extract<HookPoint, { interface: string }>, type: string, target: string): boolean {
  if (point.hook === "xdp") return type === "xdp" && target === `xdp ${point.interface}`;
  const { direction } = point;
  return type === "tcx"
    ? target === `tcx_${direction} ${point.interface}`
    : type === "cls_bpf" && target.startsWith(`tc-${direction} ${point.interface} `);
}
