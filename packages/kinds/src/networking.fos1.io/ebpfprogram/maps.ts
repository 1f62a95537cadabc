import type { FilterMapRef } from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Parsed, ResourceView } from "../../kind.ts";
import { whyNoLookup } from "../ebpfmap/address-lookup.ts";
import { mapKey } from "../ebpfmap/map-key.ts";
import type { EBPFMap } from "../ebpfmap/schema.ts";
import type { EBPFProgram } from "./schema.ts";

export interface FoundMaps {
  readonly maps: readonly FilterMapRef[];
  readonly problems: readonly (Pick<PlanProblem, "severity" | "reason" | "message"> & { readonly path: string })[];
}

/** The maps that a filter program looks addresses up in: those it names, then those that name it, by name. */
export function findMaps(program: Parsed<EBPFProgram>, view: ResourceView): FoundMaps {
  const { namespace, name, group } = program.ref;
  const maps: FilterMapRef[] = [];
  const problems: FoundMaps["problems"][number][] = [];
  const named = program.object.spec.maps ?? [];
  for (const [index, mapName] of named.entries()) {
    const path = `/spec/maps/${index}`;
    const map = view.find({ group, kind: "EBPFMap", namespace, name: mapName }) as Parsed<EBPFMap> | undefined;
    if (map === undefined) {
      problems.push({
        severity: "waiting",
        reason: "MapNotFound",
        path,
        message: `EBPFMap ${namespace}/${mapName} does not exist; it is used as soon as it does`,
      });
      continue;
    }
    const unusable = whyNoLookup(map);
    if (unusable === undefined) maps.push(mapRef(map, "/spec"));
    else
      problems.push({
        severity: "refused",
        reason: "MapNotUsable",
        path,
        message: `EBPFMap ${namespace}/${mapName} cannot be looked up by address: ${unusable}`,
      });
  }
  const accessible = (view.list(group, "EBPFMap", namespace) as readonly Parsed<EBPFMap>[]).toSorted((a, b) =>
    a.ref.name < b.ref.name ? -1 : 1,
  );
  for (const map of accessible) {
    const at = map.object.spec.accessedBy?.indexOf(name) ?? -1;
    if (at < 0 || named.includes(map.ref.name)) continue;
    const unusable = whyNoLookup(map);
    if (unusable === undefined) maps.push(mapRef(map, `/spec/accessedBy/${at}`));
    else
      problems.push({
        severity: "note",
        reason: "MapNotUsable",
        path: "/spec",
        message: `EBPFMap ${namespace}/${map.ref.name} names this program, but cannot be looked up by address: ${unusable}`,
      });
  }
  return { maps, problems };
}

function mapRef(map: Parsed<EBPFMap>, path: string): FilterMapRef {
  const origin = { object: map.ref, path, position: map.positionOf(path) };
  return { mapKey: mapKey(map.ref), family: map.object.spec.keySize === 8 ? 4 : 6, origin };
}
