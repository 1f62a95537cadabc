import type { ObjectRef } from "@bpfleet/base";
import type { FeatureInstance, MapSpec, NodeFacts, PlanProblem } from "@bpfleet/kernel";
import type { Feature, FeaturePlan, InstanceCounters, MapReadings } from "../feature.ts";
import type { MapIntent } from "./intent.ts";

/** Maps of their own: created, filled, kept. */
export const maps: Feature<MapIntent> = {
  name: "maps",
  plan: planMaps,
  passReasons: [],
  counterRoles: ["map"],
  measuredRoles: ["map"],
  counters: countMap,
};

/** The kernel's limit, without the terminating zero. */
const longestName = 15;

function planMaps(intents: readonly MapIntent[], facts: NodeFacts): FeaturePlan {
  const plan = { maps: [] as MapSpec[], instances: [] as FeatureInstance[], problems: [] as PlanProblem[] };
  const pins = new Map<string, ObjectRef>();
  for (const intent of intents) {
    const { object } = intent.origin;
    const key = `maps/${object.namespace}/${object.name}`;
    const misfit = pinProblem(intent, facts, pins);
    if (misfit) plan.problems.push(misfit);
    else if (intent.pinPath !== undefined) pins.set(intent.pinPath, object);
    plan.maps.push({
      key,
      name: kernelName(object.name),
      definition: intent.definition,
      contents: { kind: "kept", entries: intent.entries, prune: intent.prune },
      pinPath: misfit ? undefined : intent.pinPath,
      owner: object,
    });
    plan.instances.push({
      feature: "maps",
      owner: object,
      key,
      programs: [],
      maps: { map: key },
      rules: [],
      data: { declared: intent.entries.count },
    });
  }
  return { ...plan, programs: [], attachments: [] };
}

/** Letters, digits, `_` and `.` are what the kernel takes. */
function kernelName(name: string): string {
  return name.replace(/[^A-Za-z0-9_.]/g, "_").slice(0, longestName);
}

/** The map itself is served without its second pin. */
function pinProblem(
  intent: MapIntent,
  facts: NodeFacts,
  pins: ReadonlyMap<string, ObjectRef>,
): PlanProblem | undefined {
  const { pinPath } = intent;
  const holder = pinPath === undefined ? undefined : pins.get(pinPath);
  if (holder !== undefined) {
    return {
      origin: intent.pinOrigin ?? intent.origin,
      reason: "PinPathTaken",
      message: `pin ${pinPath}: EBPFMap ${holder.namespace}/${holder.name} is pinned there; the map works without this pin`,
      severity: "waiting",
    };
  }
  if (pinPath === undefined || facts.bpffs.some((mount) => pinPath.startsWith(`${mount.replace(/\/$/, "")}/`)))
    return undefined;
  const where = facts.bpffs.length === 0 ? "none is mounted" : `mounted at ${facts.bpffs.join(", ")}`;
  return {
    origin: intent.pinOrigin ?? intent.origin,
    reason: "PinPathInvalid",
    message: `pin ${pinPath}: it does not lie on a bpffs (${where}); the map works without this pin`,
    severity: "waiting",
  };
}

function countMap(instance: FeatureInstance, readings: MapReadings): InstanceCounters {
  const entries = readings.get("map");
  return { owner: instance.owner, reasons: {}, rules: [], gauges: entries ? { map_entries: entries.count } : {} };
}
