import { refKey } from "@bpfleet/base";
import {
  programContent,
  type MapSpec,
  type NodeFacts,
  type NodePlan,
  type PlanPart,
  type SeenMap,
} from "@bpfleet/kernel";

const feature = "bytecode";
const seenKept = 3;

/** What each owner of brought programs has in a plan, as a part that can be planned again. */
export function earlierPlansOf(plan: NodePlan): NonNullable<NodeFacts["earlierPlans"]> {
  const parts: Record<string, PlanPart> = {};
  const owned = Map.groupBy(
    plan.instances.filter((instance) => instance.feature === feature),
    ({ owner }) => refKey(owner),
  );
  for (const [owner, instances] of owned) {
    const programs = new Set(instances.flatMap((instance) => instance.programs));
    const isOwned = (spec: { readonly owner?: MapSpec["owner"] }): boolean =>
      spec.owner !== undefined && refKey(spec.owner) === owner;
    parts[owner] = {
      instances,
      maps: plan.maps.filter(isOwned),
      programs: plan.programs.filter(({ key }) => programs.has(key)),
      attachments: plan.hooks.flatMap(({ point, members }) =>
        members.filter(({ program }) => programs.has(program)).map((member) => ({ point, member })),
      ),
      problems: [],
    };
  }
  return parts;
}

/** What of a part is in force; `undefined` when nothing is. */
export function partInForce(part: PlanPart, inForce: ReadonlySet<string>): PlanPart | undefined {
  const programs = part.programs.filter(({ key }) => inForce.has(key));
  if (programs.length === 0 || programs.length === part.programs.length)
    return programs.length === 0 ? undefined : part;
  const maps = new Set(programs.flatMap((spec) => Object.values(spec.maps)));
  return {
    programs,
    maps: part.maps.filter(({ key }) => maps.has(key)),
    attachments: part.attachments.filter(({ member }) => inForce.has(member.program)),
    instances: part.instances.filter((instance) => instance.programs.every((key) => inForce.has(key))),
    problems: [],
  };
}

/** With the maps of this plan that are not what was seen last. */
export function seeMaps(seen: NonNullable<NodeFacts["seenMaps"]>, plan: NodePlan): NonNullable<NodeFacts["seenMaps"]> {
  const after: Record<string, readonly SeenMap[]> = {};
  for (const { key, definition, layout, types } of plan.maps) {
    if (layout === undefined || types === undefined) continue;
    const now: SeenMap = { definition, layout, keyType: types.key, valueType: types.value };
    const before = (seen[key] ?? []).filter((each) => !isSame(each, now));
    after[key] = [...before, now].slice(-seenKept);
  }
  return after;
}

/** With the brought programs of this plan that are not what was seen last. */
export function seePrograms(
  seen: NonNullable<NodeFacts["seenPrograms"]>,
  plan: NodePlan,
): NonNullable<NodeFacts["seenPrograms"]> {
  const brought = new Set(plan.instances.flatMap((each) => (each.feature === feature ? each.programs : [])));
  const after = plan.programs
    .filter(({ key }) => brought.has(key))
    .map((spec): [string, readonly string[]] => {
      const now = programContent(spec);
      const before = (seen[spec.key] ?? []).filter((each) => each !== now);
      return [spec.key, [...before, now].slice(-seenKept)];
    });
  return Object.fromEntries(after);
}

function isSame(a: SeenMap, b: SeenMap): boolean {
  return a.layout === b.layout && JSON.stringify(a.definition) === JSON.stringify(b.definition);
}
