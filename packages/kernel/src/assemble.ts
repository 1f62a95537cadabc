import { canonicalJson, compareText, type ObjectRef, type Origin } from "@bpfleet/base";
import { renderHookKey } from "./hook-point.ts";
import type { HookPoint } from "./hook-point.ts";
import type { FeatureInstance, HookMember, HookSpec, MapSpec, NodePlan, PlanProblem, ProgramSpec } from "./specs.ts";

/** What one feature contributes to a plan (features export it as FeaturePlan). */
export interface PlanPart {
  readonly maps: readonly MapSpec[];
  readonly programs: readonly ProgramSpec[];
  readonly attachments: readonly { readonly point: HookPoint; readonly member: HookMember }[];
  readonly instances: readonly FeatureInstance[];
  readonly problems: readonly PlanProblem[];
}

/**
 * One plan of all parts. Equal maps and programs asked for by several parts are one; different ones
 * under one key cannot be merged: the first stays, the others and what builds on them is left out with
 * a problem. The order of everything is that of the keys, whatever the order of the parts.
 */
export function assemblePlan(featurePlans: readonly PlanPart[]): NodePlan {
  const maps = new Map<string, MapSpec>();
  const programs = new Map<string, ProgramSpec>();
  const members = new Map<string, { point: HookPoint; members: Map<string, HookMember> }>();
  const instances: FeatureInstance[] = [];
  const problems: PlanProblem[] = featurePlans.flatMap((part) => part.problems);
  for (const part of featurePlans) {
    const refusedMaps = new Set<string>();
    for (const spec of part.maps.toSorted((a, b) => referencesOf(a).length - referencesOf(b).length)) {
      const isBroken = referencesOf(spec).some((key) => refusedMaps.has(key));
      if (!isBroken && mergeSpec(maps, spec, sameMap)) continue;
      refusedMaps.add(spec.key);
      if (!isBroken) problems.push(duplicate("map", spec.key, spec.owner, maps.get(spec.key)?.owner));
    }
    const refusedPrograms = new Set<string>();
    for (const spec of part.programs) {
      if (Object.values(spec.maps).some((key) => refusedMaps.has(key))) {
        refusedPrograms.add(spec.key);
      } else if (!mergeSpec(programs, spec, sameProgram)) {
        refusedPrograms.add(spec.key);
        problems.push(duplicate("program", spec.key, spec.owner, programs.get(spec.key)?.owner));
      }
    }
    for (const { point, member } of part.attachments) {
      if (refusedPrograms.has(member.program)) continue;
      const key = renderHookKey(point);
      const hook = members.get(key) ?? { point, members: new Map<string, HookMember>() };
      members.set(key, hook);
      const earlier = hook.members.get(member.program);
      if (earlier === undefined) hook.members.set(member.program, member);
      else if (canonicalJson(earlier) !== canonicalJson(member)) {
        problems.push(askedTwice(member, key, part.programs.find((spec) => spec.key === member.program)?.owner));
      }
    }
    instances.push(
      ...part.instances.filter(
        (instance) =>
          !instance.programs.some((key) => refusedPrograms.has(key)) &&
          !Object.values(instance.maps).some((key) => refusedMaps.has(key)),
      ),
    );
  }
  return withoutDangling({
    maps: [...maps.values()].toSorted(byKey),
    programs: [...programs.values()].toSorted(byKey),
    hooks: [...members].map(([key, hook]) => hookSpec(key, hook.point, [...hook.members.values()])).toSorted(byKey),
    instances: instances.toSorted(byKey),
    problems,
  });
}

/** What refers to a map that nobody plans is not made, a program over it not loaded, a hook member without a program cannot run. */
function withoutDangling(plan: NodePlan): NodePlan {
  const planned = new Set(plan.maps.map((spec) => spec.key));
  const problems = [...plan.problems];
  const whole = plan.maps.filter((spec) => {
    const missing = referencesOf(spec).filter((key) => !planned.has(key));
    for (const key of missing) {
      problems.push({
        origin: originOf(spec.owner, spec.key),
        reason: "MapMissing",
        message: `make map ${spec.key}: it refers to map ${key}, which nothing on this node declares`,
        severity: "waiting",
      });
    }
    return missing.length === 0;
  });
  const maps = new Set(whole.map((spec) => spec.key));
  const programs = plan.programs.filter((spec) => {
    const missing = Object.values(spec.maps).filter((key) => !maps.has(key));
    for (const key of missing) {
      problems.push({
        origin: originOf(spec.owner, spec.key),
        reason: "MapMissing",
        message: `load program ${spec.key}: it uses map ${key}, which nothing on this node declares`,
        severity: "waiting",
      });
    }
    return missing.length === 0;
  });
  const loadable = new Set(programs.map((spec) => spec.key));
  const hooks = plan.hooks
    .map((hook) => ({ ...hook, members: hook.members.filter((member) => loadable.has(member.program)) }))
    .filter((hook) => hook.members.length > 0);
  const instances = plan.instances.filter((instance) => instance.programs.every((key) => loadable.has(key)));
  return { ...plan, maps: whole, programs, hooks, instances, problems };
}

function referencesOf({ contents }: MapSpec): readonly string[] {
  return contents.kind === "refers" ? contents.entries.map(({ map }) => map) : [];
}

function hookSpec(key: string, point: HookPoint, members: readonly HookMember[]): HookSpec {
  return {
    key,
    point,
    members: members.toSorted((a, b) => a.priority - b.priority || compareText(a.program, b.program)),
  };
}

/** False when something else has the key. */
function mergeSpec<T extends { readonly key: string }>(
  specs: Map<string, T>,
  spec: T,
  isSame: (a: T, b: T) => boolean,
): boolean {
  const earlier = specs.get(spec.key);
  if (earlier !== undefined) return isSame(earlier, spec);
  specs.set(spec.key, spec);
  return true;
}

/** Owners may differ: several objects can share one. */
function sameMap(a: MapSpec, b: MapSpec): boolean {
  return a === b || canonicalJson({ ...a, owner: undefined }) === canonicalJson({ ...b, owner: undefined });
}

function sameProgram(a: ProgramSpec, b: ProgramSpec): boolean {
  return a === b || canonicalJson({ ...a, owner: undefined }) === canonicalJson({ ...b, owner: undefined });
}

function duplicate(
  what: "map" | "program",
  key: string,
  owner: ObjectRef | undefined,
  holder: ObjectRef | undefined,
): PlanProblem {
  const by = holder ? ` for ${holder.kind} ${holder.namespace}/${holder.name}` : "";
  return {
    origin: originOf(owner, key),
    reason: "DuplicateKey",
    message: `plan ${what} ${key}: another ${what} is planned under this key${by}`,
    severity: "refused",
  };
}

function askedTwice(member: HookMember, hook: string, owner: ObjectRef | undefined): PlanProblem {
  return {
    origin: originOf(owner, member.program),
    reason: "AttachedTwice",
    message: `attach ${member.program} to ${hook}: it is there already with another priority or other proceed-on verdicts; the first holds`,
    severity: "refused",
  };
}

function originOf(owner: ObjectRef | undefined, key: string): Origin {
  return { object: owner ?? { group: "bpfleet.io", kind: "NodeState", namespace: "", name: key }, path: "" };
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return compareText(a.key, b.key);
}
