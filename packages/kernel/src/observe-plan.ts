import { isArrayLike, isKeyed, isMapOfMaps, isPerCpu } from "./entries.ts";
import { mapIdentity, planGenerations, renderIdentity } from "./identity.ts";
import type { KnownHooks, KernelPort, MapIdentity, ObservedKernel, ObservedMap } from "./port.ts";
import type { MapSpec, NodePlan } from "./specs.ts";

/** observe(), with the contents of the maps whose entries the plan keeps, and of maps of maps. */
export async function observePlan(port: KernelPort, plan: NodePlan, known?: KnownHooks): Promise<ObservedKernel> {
  const observed = await port.observe(known);
  const { maps: identities } = planGenerations(plan);
  // What earlier ones refer to must not go before them; what programs put into their own is not looked at.
  const planned = new Set([...identities.values()].map(renderIdentity));
  const earlier = observed.maps.filter(({ definition }) => isMapOfMaps(definition.type)).map(renderIdentity);
  const kept = new Set(earlier.filter((name) => !planned.has(name)));
  for (const spec of plan.maps) {
    const identity = identities.get(spec.key);
    if (spec.contents.kind === "refers" && identity !== undefined) kept.add(renderIdentity(identity));
    if (spec.contents.kind !== "kept" || !isKeyed(spec.definition.type) || identity === undefined) continue;
    kept.add(renderIdentity(identity));
    const predecessor = findPredecessor(spec, identity, observed.maps);
    if (predecessor !== undefined) kept.add(renderIdentity(predecessor));
  }
  const maps = observed.maps.map(async (map) =>
    kept.has(renderIdentity(map)) ? { ...map, entries: await port.readMap(map) } : map,
  );
  return { ...observed, maps: await Promise.all(maps) };
}

/**
 * The map that one whose contents are kept takes over from, when only its size or type changed: the newest, as
 * long as the new one is not there. What others wrote into it is theirs in the new one too.
 */
export function findPredecessor(
  spec: MapSpec,
  identity: MapIdentity,
  observed: readonly ObservedMap[],
): ObservedMap | undefined {
  const { type, keySize, valueSize } = spec.definition;
  const family = observed.filter((map) => map.key === identity.key);
  if (family.some((map) => map.generation === identity.generation) || isArrayLike(type) || isPerCpu(type))
    return undefined;
  return family
    .filter(({ definition, generation }) => {
      const isAlike = definition.keySize === keySize && definition.valueSize === valueSize;
      const isListed = isKeyed(definition.type) && !isArrayLike(definition.type) && !isPerCpu(definition.type);
      return isAlike && isListed && mapIdentity({ ...spec, definition }).generation === generation;
    })
    .toSorted((a, b) => b.mapId - a.mapId)[0];
}
