import {
  isCurrent,
  listNames,
  mostCommon,
  parted,
  renderNotListed,
  renderUndeployed,
  sayDeleting,
  type FleetOutcome,
  type NodeResult,
} from "../../aggregate.ts";
import type { KubeObject } from "../../kind.ts";
import { nextConditions, type Said } from "../conditions.ts";
import { programName } from "../names.ts";
import type { KindNames } from "../names.ts";
import { underWay } from "./fate.ts";
import { configConditions, type ConfigStatus } from "./status.ts";

/** Objects that a message names; a condition's message is bounded. */
const maxObjects = 100;
const knownTypes = Object.keys(configConditions);

/** The conditions of a config on all nodes, in bpfd's words. */
export function aggregateConfig(names: KindNames, object: KubeObject, fleet: FleetOutcome): ConfigStatus {
  const { noun } = names;
  const before = nextConditions(fleet.previousStatus, [], [], knownTypes, fleet.clock);
  const isNew = !before.some(({ type }) => type === "NotYetLoaded");
  const first: Said = {
    type: "NotYetLoaded",
    reason: "ProgramsNotYetLoaded",
    message: `Waiting for ${names.config} Object to be reconciled to all nodes`,
  };
  if (fleet.undeployed !== undefined) {
    const cause: Said = { type: "Cause", reason: "Undeployed", message: renderUndeployed(fleet.undeployed) };
    // As on its first day: that it was loaded once would be read as if it were.
    return { conditions: [...nextConditions(fleet.previousStatus, [first], [cause], [first.type], fleet.clock)] };
  }
  const { lost } = parted(fleet);
  const { notListed = [] } = fleet;
  const away = new Set(lost);
  const heard = fleet.results.filter(({ nodeName }) => !away.has(nodeName));
  const { deletionTimestamp, generation } = object.metadata;
  // A deletion is a generation that no node has to see.
  const seen = deletionTimestamp === undefined ? generation : undefined;
  const current = heard.filter((result) => isCurrent(result, seen));
  const failed = current.filter(hasFailed);
  const stuck = (fleet.remaining ?? []).filter(({ cannotUnload }) => cannotUnload).map(({ name }) => name);
  const said: Said[] = isNew ? [first] : [];
  const ours = ["Cause", "Note"].flatMap((type) => sharedCondition(type, current));
  if (deletionTimestamp !== undefined && stuck.length === 0) {
    // That it was loaded once would be read as if it were to stay.
    const types = knownTypes.filter((type) => type !== "ReconcileSuccess");
    const { message } = sayDeleting(object, fleet);
    const leaving = [...ours.filter(({ type }) => type !== "Note"), { type: "Note", reason: "Deleting", message }];
    return { conditions: [...nextConditions(fleet.previousStatus, said, leaving, types, fleet.clock)] };
  }
  if (deletionTimestamp !== undefined) {
    said.push({
      type: "DeleteError",
      reason: "DeleteError",
      message: `${lowerFirst(names.config)} Deletion failed on the following ${noun} Objects: [${listNames(stuck, maxObjects)}]`,
    });
  } else if (failed.length > 0) {
    const made = failed.map(({ nodeName }) => programName(object.metadata.name, nodeName));
    said.push({
      type: "ReconcileError",
      reason: "ReconcileError",
      message: `${noun}Reconciliation failed on the following ${noun} Objects: [${listNames(made, maxObjects)}]`,
    });
  } else if (lost.length === 0 && notListed.length === 0 && isDone(fleet, current)) {
    said.push({
      type: "ReconcileSuccess",
      reason: "ReconcileSuccess",
      message: `${noun}Reconciliation Succeeded on all nodes`,
    });
  }
  if (lost.length > 0 && !ours.some(({ type }) => type === "Note"))
    ours.push({ type: "Note", reason: "NodesLost", message: `not heard from: ${listNames(lost)}` });
  if (notListed.length > 0 && !ours.some(({ type }) => type === "Note"))
    ours.push({ type: "Note", reason: "NotListed", message: renderNotListed(notListed) });
  return { conditions: [...nextConditions(fleet.previousStatus, said, ours, knownTypes, fleet.clock)] };
}

/** One that waits without a cause, or for what is on its way, is no failure yet. */
function hasFailed({ state, conditions }: NodeResult): boolean {
  if (state !== "Waiting") return state === "Failed" || state === "NotServed";
  return conditions.some(({ type, reason }) => type === "Cause" && !underWay.includes(reason));
}

function isDone(fleet: FleetOutcome, current: readonly NodeResult[]): boolean {
  return (
    current.length > 0 &&
    fleet.silentNodes.length === 0 &&
    current.length === fleet.results.length &&
    current.every(({ state }) => state === "InForce" || state === "NotSelected")
  );
}

/** What most nodes say under a type, with some of the nodes that do. */
function sharedCondition(type: string, results: readonly NodeResult[]): readonly Said[] {
  const said = results.flatMap(({ nodeName, conditions }) =>
    conditions.flatMap((each) => (each.type === type ? [{ ...each, nodeName }] : [])),
  );
  if (said.length === 0) return [];
  const reason = mostCommon(said.map((each) => each.reason));
  const message = mostCommon(said.flatMap((each) => (each.reason === reason ? [each.message] : [])));
  const where =
    results.length === 1
      ? ""
      : ` (on ${said.length} of ${results.length} nodes: ${listNames(said.map(({ nodeName }) => nodeName))})`;
  return [{ type, reason, message: `${message}${where}` }];
}

function lowerFirst(text: string): string {
  return `${text.slice(0, 1).toLowerCase()}${text.slice(1)}`;
}
