import { canonicalJson } from "@bpfleet/base";
import type { MapEntries, MapSpec, NodePlan } from "@bpfleet/kernel";

/**
 * Whether two plans of the same objects ask for the same: what the facts of a node can change is compared, the
 * rules of the instances are not, for they come from the objects alone. Costs little also where lists are long.
 */
export function samePlan(a: NodePlan, b: NodePlan): boolean {
  const small = ({ programs, hooks, instances }: NodePlan) =>
    canonicalJson({
      programs,
      hooks,
      instances: instances.map(({ key, programs: own, maps }) => ({ key, own, maps })),
    });
  return (
    a.maps.length === b.maps.length && a.maps.every((map, at) => sameMap(map, b.maps[at])) && small(a) === small(b)
  );
}

function sameMap(a: MapSpec, b: MapSpec | undefined): boolean {
  if (b === undefined) return false;
  const essence = ({ contents: _contents, ...rest }: MapSpec) => canonicalJson(rest);
  return essence(a) === essence(b) && sameContents(a.contents, b.contents);
}

function sameContents(a: MapSpec["contents"], b: MapSpec["contents"]): boolean {
  if (a.kind === "sealed") return b.kind === "sealed" && a.digest === b.digest;
  if (a.kind === "kept") return b.kind === "kept" && a.prune === b.prune && sameEntries(a.entries, b.entries);
  return a.kind === "refers" ? canonicalJson(a) === canonicalJson(b) : a.kind === b.kind;
}

function sameEntries(a: MapEntries, b: MapEntries): boolean {
  return a.count === b.count && Buffer.compare(a.keys, b.keys) === 0 && Buffer.compare(a.values, b.values) === 0;
}
