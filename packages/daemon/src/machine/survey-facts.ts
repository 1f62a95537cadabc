import {
  isInterfacePoint,
  parseHookKey,
  placeOf,
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

export function ownersOf({ maps, programs }: NodePlan, { bytecode = {} }: NodeFacts): KeyOwner[] {
  const images = new Map(
    Object.values(bytecode).flatMap((facts) => {
      const ready = facts.state === "ready" ? facts : facts.state === "failed" ? facts.earlier : undefined;
      return ready?.imageDigest === undefined ? [] : [[ready.objectDigest, ready.imageDigest] as const];
    }),
  );
  return [
    ...maps.map(({ key, owner }) => ({ key, owner })),
    ...programs.map(({ key, owner, object }) => {
      const imageDigest = images.get(object.digest);
      return { key, owner, objectDigest: object.digest, ...(imageDigest !== undefined && { imageDigest }) };
    }),
  ];
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
      const isThere = type === (point.hook === "xdp" ? "xdp" : "tcx") && target.endsWith(` ${placeOf(point)}`);
      if (isThere && ours === undefined)
        findings.push({
          kind: "conflict",
          key,
          text: `foreign program ${programId} is on it too, by link ${id}: ${target}`,
        });
    }
  }
  for (const { item, key, what } of results.healed) findings.push({ kind: "healed", key, text: `${item}: ${what}` });
  return findings;
}
