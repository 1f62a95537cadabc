import { refKey } from "@bpfleet/base";
import { isOfFacts, type NodeStateResult } from "@bpfleet/kinds";
import { conditionsOf } from "../events.ts";
import type { ObjectReport } from "../report.ts";
import type { MadeFate } from "./made-objects.ts";

const states = {
  "in-force": "InForce",
  waiting: "Waiting",
  failed: "Failed",
  pending: "Pending",
} as const;

/** By `refKey` of the object of which it is made: only of what is not there. */
export type Unwritten = ReadonlyMap<string, Exclude<MadeFate, "there">>;

/** What is made of declared objects and is not there. */
export function unwrittenOf(reports: readonly ObjectReport[], fateOf: (report: ObjectReport) => MadeFate): Unwritten {
  return new Map(
    reports.flatMap((report) => {
      if (report.madeFrom === undefined) return [];
      const fate = fateOf(report);
      return fate === "there" ? [] : [[refKey(report.madeFrom), fate] as const];
    }),
  );
}

/** What became of each declared object, as the node's own object tells it. */
export function resultsOfReports(
  reports: readonly ObjectReport[],
  unwritten: Unwritten = new Map(),
): readonly NodeStateResult[] {
  return reports
    .filter(({ ref, madeFrom }) => !isOfFacts(ref) && madeFrom === undefined)
    .map(({ ref, object, state, standing, messages }) => {
      const { uid, generation } = object.metadata;
      const { status } = object;
      const texts = textsOf(status);
      const told = conditionsOf(status).map(({ type, status: holds, reason, message }) => ({
        type,
        status: holds,
        reason,
        message,
      }));
      return {
        ...ref,
        ...(uid !== undefined && { uid }),
        ...(generation !== undefined && { observedGeneration: generation }),
        state: stateOf(state, standing),
        conditions: told.length > 0 || messages[0] === undefined ? told : [plainCondition(state, messages[0])],
        numbers: numbersOf(status),
        ...(Object.keys(texts).length > 0 && { texts }),
      };
    })
    .map((result) => withMade(result, unwritten.get(refKey(result))));
}

/** Done is what its own object tells, too. */
function withMade(result: NodeStateResult, fate: Exclude<MadeFate, "there"> | undefined): NodeStateResult {
  if (fate === undefined) return result;
  if (fate === "due") return result.state === "InForce" ? { ...result, state: "Pending" } : result;
  const told = result.conditions.filter(({ type }) => type !== "Cause");
  const cause = result.conditions.find(({ type }) => type === "Cause")?.message;
  const message = [...(cause === undefined ? [] : [cause]), fate.refusal].join("; ");
  return { ...result, state: "Failed", conditions: [{ ...notWritten, message }, ...told] };
}

const notWritten = { type: "Cause", status: "True", reason: "NotWritten" } as const;

function stateOf(state: ObjectReport["state"], standing: ObjectReport["standing"]): NodeStateResult["state"] {
  if (standing === "not-selected") return "NotSelected";
  return standing === "not-served" ? "NotServed" : states[state];
}

/** Of kinds that have no status of their own on a node. */
function plainCondition(state: ObjectReport["state"], message: string): NodeStateResult["conditions"][number] {
  return { type: "Ready", status: state === "in-force" ? "True" : "False", reason: states[state], message };
}

/** Whole numbers of a status, by their JSON pointers; conditions have none that could be added up. */
export function numbersOf(status: unknown): NodeStateResult["numbers"] {
  const numbers: Record<string, number> = {};
  const walk = (value: unknown, path: string): void => {
    if (typeof value === "number" && Number.isSafeInteger(value)) numbers[path] = value;
    if (typeof value !== "object" || value === null || Array.isArray(value)) return;
    for (const [name, field] of Object.entries(value)) {
      if (path === "" && (name === "conditions" || name === "observedGeneration")) continue;
      walk(field, `${path}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`);
    }
  };
  walk(status, "");
  return numbers;
}

/** Said of all nodes in words of their own, or of no use there. */
const ownWords = new Set(["state", "reason", "node", "lastUpdated"]);

/** Texts that stand at the top of a status, by their JSON pointers: `/attachedTo`. */
export function textsOf(status: unknown): NonNullable<NodeStateResult["texts"]> {
  if (typeof status !== "object" || status === null) return {};
  return Object.fromEntries(
    Object.entries(status).flatMap(([name, value]: [string, unknown]) =>
      typeof value === "string" && value !== "" && !ownWords.has(name) ? [[`/${name}`, value]] : [],
    ),
  );
}
