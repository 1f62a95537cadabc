import { isRecord, type Clock } from "@bpfleet/base";
import type { Condition, KubeObject } from "./kind.ts";
import { previousConditions, stampStatus, type Aspect } from "./status/conditions.ts";

/** What became of an object on one node, as the node's own object says it. */
export interface NodeResult {
  readonly nodeName: string;
  readonly state: "InForce" | "Waiting" | "Failed" | "Pending" | "NotSelected" | "NotServed";
  readonly observedGeneration?: number | undefined;
  readonly conditions: readonly Pick<Condition, "type" | "status" | "reason" | "message">[];
  /** By JSON pointer into the status of the kind. */
  readonly numbers: Readonly<Record<string, number>>;
  /** By JSON pointer: `/attachedTo`. */
  readonly texts?: Readonly<Record<string, string>> | undefined;
}

/** What became of one object on all nodes. */
export interface FleetOutcome {
  readonly results: readonly NodeResult[];
  /** Nodes that have an agent, which has not told of the object. */
  readonly silentNodes: readonly string[];
  /** Nodes that nobody hears from: what they last said may no longer be so. None of them is among the silent ones. */
  readonly lostNodes?: readonly string[] | undefined;
  /** Nodes that have more objects than their report lists, not this one; `isSound`: all that are in trouble are listed. */
  readonly notListed?: readonly { readonly nodeName: string; readonly isSound: boolean }[] | undefined;
  /** Of an object that is being deleted: what was made of it and is still there. */
  readonly remaining?: readonly { readonly name: string; readonly cannotUnload: boolean }[] | undefined;
  /** Of such an object: why nobody unloads it somewhere, and what helps. */
  readonly unattended?: string | undefined;
  /** The fleet has left the cluster: what came of the nodes, and whether nothing is in force on any of them. */
  readonly undeployed?: { readonly isClean: boolean; readonly report: string } | undefined;
  readonly previousStatus: unknown;
  readonly clock: Clock;
}

/** The part of a kind that its status on all nodes needs. */
export interface AggregateSource {
  readonly conditions: Readonly<Record<string, string>>;
  /** Kinds without one have no status. */
  readonly statusSchema?: object | undefined;
  /** Numbers, by JSON pointer, of which the largest node's stands: what every node has the same is not added up. */
  readonly largest?: readonly string[] | undefined;
}

/** Nodes that a message names. */
const maxNames = 3;

/**
 * The status of an object on all nodes: a condition is True when it is on every node that the object means, numbers
 * are added up, `state` is the worst, `nodes` counts. Where nobody hears from a node, it is Unknown, unless it is False
 * on another; what the node had counted stays. Of texts that differ from node to node it has the first few; the
 * nodes' own objects have all. Equal outcomes make equal statuses.
 */
export function aggregateStatus(source: AggregateSource, object: KubeObject, whole: FleetOutcome): unknown {
  const { statusSchema } = source;
  if (statusSchema === undefined) return undefined;
  const { generation } = object.metadata;
  const isLeaving = object.metadata.deletionTimestamp !== undefined && whole.undeployed === undefined;
  const fleet = isLeaving ? leavingFleet(whole) : whole;
  const { heard, stale, lost } = parted(fleet);
  // A deletion is a generation that no node has to see.
  const seen = isLeaving ? undefined : generation;
  const current = heard.filter((result) => isCurrent(result, seen));
  const late = [...heard.filter((result) => !isCurrent(result, seen)).map(nameOf), ...fleet.silentNodes];
  const { notListed = [] } = fleet;
  const total = heard.length + lost.length + fleet.silentNodes.length + notListed.length;
  const ready = current.filter(({ state }) => state === "InForce").length;
  const aspects =
    fleet.undeployed !== undefined
      ? undeployedAspects(fleet.previousStatus, fleet.undeployed)
      : isLeaving
        ? leavingAspects(object, fleet)
        : typesOf(source, current).map((type) => aspectOf(type, current, { late, lost, notListed, total }));
  const [first] = aspects;
  const properties = propertiesOf(statusSchema);
  const fields: Record<string, unknown> = {};
  if (properties["state"] !== undefined) {
    const word = (worst: Worst): string => stateWord(properties["state"], worst);
    const before = isRecord(fleet.previousStatus) ? fleet.previousStatus["state"] : undefined;
    // Nothing is known that it would not be any more.
    const isKept = notListed.length > 0 && late.length === 0 && before === word("in-force");
    const isInForce = isKept && current.every(({ state }) => state === "InForce");
    const worst = worstOf(current, late.length + notListed.length);
    fields["state"] = word(isInForce ? "in-force" : worst);
    if (properties["reason"] !== undefined && first !== undefined && first.status !== "True")
      fields["reason"] = first.message;
  }
  addNumbers(fields, statusSchema, [...current, ...stale], source.largest ?? []);
  addTexts(fields, properties, current);
  const [only] = [...heard, ...stale];
  if (properties["node"] !== undefined && total === 1 && only !== undefined) fields["node"] = only.nodeName;
  if (properties["nodes"] !== undefined) fields["nodes"] = { ready, total };
  const status = stampStatus(fields, aspects, generation, fleet);
  if (properties["lastUpdated"] !== undefined) return status;
  const { lastUpdated: _, ...rest } = status;
  return rest;
}

/** `n1 has more objects than its report lists; this one is not among those in trouble`. */
export function renderNotListed(notListed: NonNullable<FleetOutcome["notListed"]>): string {
  const [have, lists] = notListed.length === 1 ? ["has", "its report lists"] : ["have", "their reports list"];
  const isSound = notListed.every((each) => each.isSound);
  return `${listNames(notListed.map(nameOf))} ${have} more objects ${isSound ? "" : "in trouble "}than ${lists}${
    isSound ? "; this one is not among those in trouble" : ""
  }`;
}

/** What nodes said that are meant and heard from, what others last said, and the names of all others. */
export function parted({ results, lostNodes = [] }: FleetOutcome): {
  readonly heard: readonly NodeResult[];
  readonly stale: readonly NodeResult[];
  readonly lost: readonly string[];
} {
  const away = new Set(lostNodes);
  const meant = results.filter(({ state }) => state !== "NotSelected");
  const stale = meant.filter(({ nodeName }) => away.has(nodeName));
  const told = new Set(results.map(nameOf));
  return {
    heard: meant.filter(({ nodeName }) => !away.has(nodeName)),
    stale,
    lost: [...stale.map(nameOf), ...lostNodes.filter((name) => !told.has(name))],
  };
}

/** Whether the node has seen the object as it is now. */
export function isCurrent({ observedGeneration }: NodeResult, generation: number | undefined): boolean {
  return generation === undefined || observedGeneration === undefined || observedGeneration >= generation;
}

/** `n1, n2, n3 and 4 more`. */
export function listNames(names: readonly string[], most = maxNames): string {
  const sorted = names.toSorted();
  const rest = sorted.length - most;
  return rest > 0 ? `${sorted.slice(0, most).join(", ")} and ${rest} more` : sorted.join(", ");
}

/** The word that most of them say; of equally many the first in order of the alphabet. */
export function mostCommon(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  const [best] = [...counts].toSorted(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return best?.[0] ?? "";
}

function nameOf({ nodeName }: { readonly nodeName: string }): string {
  return nodeName;
}

/** `Ready` first, then as the kind lists them, then what else the nodes say. */
function typesOf(source: AggregateSource, results: readonly NodeResult[]): readonly string[] {
  const told = new Set(results.flatMap(({ conditions }) => conditions.map(({ type }) => type)));
  const known = Object.keys(source.conditions).filter((type) => told.has(type) || results.length === 0);
  return [...new Set(["Ready", ...known, ...[...told].toSorted()])];
}

interface Others {
  readonly late: readonly string[];
  readonly lost: readonly string[];
  readonly notListed: NonNullable<FleetOutcome["notListed"]>;
  readonly total: number;
}

function aspectOf(type: string, results: readonly NodeResult[], { late, lost, notListed, total }: Others): Aspect {
  const said = results.flatMap((result) => {
    const condition =
      result.conditions.find((each) => each.type === type) ?? (type === "Ready" ? readyOf(result) : undefined);
    return condition === undefined ? [] : [{ nodeName: result.nodeName, ...condition }];
  });
  if (total === 0)
    return { type, status: "Unknown", reason: "NoNodes", message: "no node is meant by it, or none has an agent yet" };
  const worst = said.some(({ status }) => status === "False") ? "False" : "Unknown";
  const bad = said.filter(({ status }) => status !== "True" && (worst === "Unknown" || status === "False"));
  if (bad.length > 0) {
    const reason = mostCommon(bad.map((condition) => condition.reason));
    const same = bad.filter((condition) => condition.reason === reason);
    const message = `${mostCommon(same.map((condition) => condition.message))}${onNodes(bad.map(nameOf), total)}`;
    return { type, status: worst, reason, message };
  }
  if (late.length > 0) {
    const message = `${said.length} of ${total} nodes; not yet: ${listNames(late)}`;
    return { type, status: "False", reason: "InProgress", message };
  }
  if (lost.length > 0) {
    const message = `${said.length} of ${total} nodes; not heard from: ${listNames(lost)}`;
    return { type, status: "Unknown", reason: "NodesLost", message };
  }
  if (notListed.length > 0) {
    const counted = total === 1 ? "" : `${said.length} of ${total} nodes; `;
    return { type, status: "Unknown", reason: "NotListed", message: `${counted}${renderNotListed(notListed)}` };
  }
  const message = mostCommon(said.map((condition) => condition.message));
  return {
    type,
    status: "True",
    reason: mostCommon(said.map((condition) => condition.reason)),
    message: total === 1 ? message : `${message === "" ? "so it is" : message} on ${total} nodes`,
  };
}

/** Nodes that are silent have what is being deleted no more, or never had it. */
function leavingFleet(fleet: FleetOutcome): FleetOutcome {
  const told = new Set(fleet.results.map(nameOf));
  return { ...fleet, silentNodes: [], lostNodes: fleet.lostNodes?.filter((name) => told.has(name)) };
}

function leavingAspects(object: KubeObject, fleet: FleetOutcome): readonly Aspect[] {
  const { isOff, message } = sayDeleting(object, fleet);
  return typesBefore(fleet.previousStatus).map((type) => {
    const isKnown = type === "Ready" || (isOff && type !== "Accepted" && type !== "Valid");
    return { type, status: isKnown ? "False" : "Unknown", reason: "Deleting", message };
  });
}

/** Of an object that is being deleted: which nodes still have it, else who holds it. */
export function sayDeleting(
  { metadata }: KubeObject,
  fleet: FleetOutcome,
): { readonly isOff: boolean; readonly message: string } {
  const { heard, stale } = parted(fleet);
  const unknown = [...stale, ...(fleet.notListed ?? [])].map(nameOf);
  const made = heard.length > 0 ? [] : (fleet.remaining ?? []).map(({ name }) => name);
  const isOff = heard.length === 0 && unknown.length === 0 && made.length === 0;
  const { finalizers = [] } = metadata;
  const told = [
    ...(heard.length > 0 ? [`still on ${listNames(heard.map(nameOf))}`] : []),
    ...(unknown.length > 0 ? [`unknown whether still on ${listNames(unknown)}`] : []),
    ...(made.length > 0 ? [`made of it and still there: ${listNames(made)}`] : []),
    ...(fleet.unattended === undefined ? [] : [fleet.unattended]),
    ...(isOff ? ["off all nodes"] : []),
    ...(heard.length === 0 && made.length === 0 && finalizers.length > 0
      ? [`held by ${finalizers.length === 1 ? "finalizer" : "finalizers"} ${listNames(finalizers, finalizers.length)}`]
      : []),
  ];
  return { isOff, message: `being deleted: ${told.join("; ")}` };
}

function typesBefore(previousStatus: unknown): readonly string[] {
  const before = previousConditions(isRecord(previousStatus) ? previousStatus["conditions"] : undefined);
  return [...new Set(["Ready", ...before.map(({ type }) => type)])];
}

/** Of what was said before; nobody judges any more whether a declaration is sound. */
function undeployedAspects(previousStatus: unknown, undeployed: Undeployed): readonly Aspect[] {
  const message = renderUndeployed(undeployed);
  return typesBefore(previousStatus).map((type) => {
    const isKnown = undeployed.isClean && type !== "Accepted" && type !== "Valid";
    return { type, status: isKnown ? "False" : "Unknown", reason: "Undeployed", message };
  });
}

type Undeployed = NonNullable<FleetOutcome["undeployed"]>;

/** What stands in place of all that was said before. */
export function renderUndeployed({ isClean, report }: Undeployed): string {
  return isClean ? `not in force anywhere: bpfleet was undeployed, ${report}` : `bpfleet was undeployed; ${report}`;
}

function readyOf({ state }: NodeResult): NodeResult["conditions"][number] {
  const isReady = state === "InForce";
  return {
    type: "Ready",
    status: isReady ? "True" : "False",
    reason: isReady ? "Ready" : state === "Pending" ? "InProgress" : state,
    message: isReady ? "in force" : "",
  };
}

function onNodes(names: readonly string[], total: number): string {
  return total === 1 ? "" : ` (on ${names.length} of ${total} nodes: ${listNames(names)})`;
}

type Worst = "failed" | "pending" | "in-force";

/** Of the nodes that are heard from. */
function worstOf(results: readonly NodeResult[], late: number): Worst {
  if (results.some(({ state }) => state === "Failed" || state === "NotServed")) return "failed";
  if (late > 0 || results.length === 0 || results.some(({ state }) => state !== "InForce")) return "pending";
  return "in-force";
}

/** The kind's own word of its list: the one that is neither of trouble nor of waiting is for being in force. */
function stateWord(schema: unknown, worst: Worst): string {
  const words = isRecord(schema) && Array.isArray(schema["enum"]) ? schema["enum"].map(String) : [];
  const failed = words.find((word) => /^(failed|error)$/i.test(word)) ?? "Failed";
  const pending = words.find((word) => /^(pending|waiting|creating)$/i.test(word)) ?? "Pending";
  if (worst === "failed") return failed;
  if (worst === "pending") return pending;
  return words.find((word) => word !== failed && word !== pending && word !== "Unknown") ?? "Active";
}

function addNumbers(
  fields: Record<string, unknown>,
  schema: object,
  results: readonly NodeResult[],
  largest: readonly string[],
): void {
  const sums = new Map<string, number>();
  for (const { numbers } of results)
    for (const [pointer, value] of Object.entries(numbers)) {
      const before = sums.get(pointer) ?? 0;
      sums.set(pointer, largest.includes(pointer) ? Math.max(before, value) : before + value);
    }
  for (const [pointer, sum] of [...sums].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const path = pointer
      .split("/")
      .slice(1)
      .map((word) => word.replaceAll("~1", "/").replaceAll("~0", "~"));
    setNumber(fields, schema, path, sum);
  }
}

/** `eth0`, or `eth0, eth1` where nodes differ. */
function addTexts(
  fields: Record<string, unknown>,
  properties: Readonly<Record<string, unknown>>,
  results: readonly NodeResult[],
): void {
  const told = new Map<string, Set<string>>();
  for (const { texts = {} } of results)
    for (const [pointer, text] of Object.entries(texts)) told.set(pointer, (told.get(pointer) ?? new Set()).add(text));
  for (const [pointer, texts] of [...told].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const name = pointer.slice(1);
    const schema = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (!isRecord(schema) || schema["type"] !== "string" || (schema["enum"] !== undefined && texts.size > 1)) continue;
    fields[name] = listNames([...texts]);
  }
}

/** Sets what the schema has a place for; objects on the way get what is required in them. Lists are not gone into. */
function setNumber(fields: Record<string, unknown>, schema: object, path: readonly string[], value: number): void {
  const [name, ...rest] = path;
  const inner = name === undefined ? undefined : fieldSchema(schema, name);
  if (name === undefined || name === "__proto__" || inner === undefined) return;
  if (rest.length === 0) {
    if (inner["type"] === "integer" || inner["type"] === "number") fields[name] = value;
    return;
  }
  if (inner["type"] !== "object") return;
  const existing = fields[name];
  const object = isRecord(existing) ? existing : emptyOf(inner);
  fields[name] = object;
  setNumber(object, inner, rest, value);
}

function emptyOf(schema: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const empty: Record<string, unknown> = {};
  for (const name of Array.isArray(schema["required"]) ? schema["required"].map(String) : []) {
    const inner = fieldSchema(schema, name);
    if (inner?.["type"] === "array") empty[name] = [];
    else if (inner?.["type"] === "object") empty[name] = emptyOf(inner);
    else if (inner?.["type"] === "integer" || inner?.["type"] === "number") empty[name] = 0;
  }
  return empty;
}

function fieldSchema(schema: object, name: string): Readonly<Record<string, unknown>> | undefined {
  const properties = propertiesOf(schema);
  if (Object.hasOwn(properties, name)) return isRecord(properties[name]) ? properties[name] : undefined;
  // Records: TypeBox keeps the schema of their values under a pattern.
  const { patternProperties, additionalProperties } = schema as Readonly<Record<string, unknown>>;
  const [pattern] = isRecord(patternProperties) ? Object.values(patternProperties) : [];
  const values = pattern ?? additionalProperties;
  return isRecord(values) ? values : undefined;
}

function propertiesOf(schema: object): Readonly<Record<string, unknown>> {
  const { properties } = schema as { readonly properties?: unknown };
  return isRecord(properties) ? properties : {};
}
