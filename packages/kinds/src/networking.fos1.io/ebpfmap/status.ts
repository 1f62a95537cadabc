import type { Outcome, Parsed } from "../../kind.ts";
import { stampStatus } from "../../status/conditions.ts";
import type { Aspect } from "../../status/conditions.ts";
import { aspectOf, ObjectFate, readyAspect } from "../../status/fate.ts";
import type { EBPFMap, EBPFMapStatus } from "./schema.ts";

export const mapConditions = {
  Ready: "The map is there with its entries; else what keeps it from that.",
  Accepted: "Everything that is declared is served. The message also says what one should know.",
  Created: "The kernel has the map, filled with initData and pinned where it was asked for.",
};

/** What became of an EBPFMap on this node, from the results of the last plan. */
export function mapStatus(parsed: Parsed<EBPFMap>, outcome: Outcome): EBPFMapStatus {
  const fate = new ObjectFate(parsed.ref, outcome);
  const keys = fate.mapKeys();
  const [accepted, created] = [fate.accepted(), createdAspect(fate, keys)];
  const ready = readyAspect([accepted, created], "in force");
  const isFailed = accepted.status === "False" || fate.fateOf("map", keys).state === "failed";
  const pinPath = outcome.plan.maps.find((map) => keys.includes(map.key))?.pinPath;
  const fields: Omit<EBPFMapStatus, "conditions" | "lastUpdated" | "observedGeneration"> = {
    state: isFailed ? "Failed" : ready.status === "True" ? "Created" : "Pending",
    ...(ready.status === "True" ? {} : { reason: ready.message }),
    ...(created.status === "True" && pinPath !== undefined ? { pinPath } : {}),
    ...(outcome.entryCount === undefined ? {} : { entryCount: outcome.entryCount }),
    ...(outcome.memoryBytes === undefined ? {} : { memoryUsage: outcome.memoryBytes }),
    node: outcome.nodeName,
  };
  return stampStatus(fields, [ready, accepted, created], parsed.object.metadata.generation, outcome);
}

function createdAspect(fate: ObjectFate, keys: readonly string[]): Aspect {
  const fine = { reason: "Created", message: "the map is there" };
  if (keys.length > 0) return aspectOf("Created", fate.fateOf("map", keys), fine);
  const [first] = [...fate.problemsOf("refused"), ...fate.problemsOf("waiting")];
  const { reason, message } = first ?? { reason: "InProgress", message: "not planned yet" };
  return { type: "Created", status: "False", reason, message };
}
