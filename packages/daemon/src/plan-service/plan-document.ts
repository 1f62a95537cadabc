import { isRecord, KernelError } from "@bpfleet/base";
import {
  parseHookKey,
  type FeatureInstance,
  type HookSpec,
  type MapSpec,
  type NodePlan,
  type PlanProblem,
  type ProgramSpec,
} from "@bpfleet/kernel";
import { decodeValue, encodeValue, type HeldDocument, type OutgoingItem } from "@bpfleet/wire";
import { strangeField } from "./plan-fields.ts";
import { outgoing, uniqueKeys, valuesOf } from "./protocol.ts";
import { decodeRules, encodeRules } from "./rule-rows.ts";

interface PlanValue extends Omit<NodePlan, "instances"> {
  readonly instances: readonly (Omit<FeatureInstance, "rules"> & { readonly rules: Uint8Array })[];
}

export function* planItems({ maps, programs, hooks, instances, problems }: NodePlan): Generator<OutgoingItem> {
  for (const each of maps) yield outgoing("maps", each.key, each);
  for (const each of programs) yield outgoing("programs", each.key, each);
  for (const each of hooks) yield outgoing("hooks", each.key, each);
  const unique = uniqueKeys();
  for (const each of instances)
    yield outgoing("instances", unique(`${each.feature} ${each.key}`), { ...each, rules: encodeRules(each.rules) });
  if (problems.length > 0) yield outgoing("problems", "problems", problems);
}

/** The whole of it as one value. */
export function encodePlan({ instances, ...rest }: NodePlan): PlanValue {
  return { ...rest, instances: instances.map((each) => ({ ...each, rules: encodeRules(each.rules) })) };
}

/** The inverse, of a daemon that is believed. */
export function decodePlan(value: unknown): NodePlan {
  const { instances, ...rest } = value as PlanValue;
  return { ...rest, instances: instances.map((each) => ({ ...each, rules: decodeRules(each.rules) })) };
}

/** One item of a plan that an agent sent. What a daemon cannot carry out is refused here, by its name. */
export function decodePlanItem(body: Uint8Array, section: string): unknown {
  const value = decodeValue(body);
  if (section === "problems") return value;
  if (!isRecord(value) || typeof value["key"] !== "string") throw refusal(section, "an item has no key");
  const name = `${section} ${value["key"]}`;
  const strange = strangeField(section, value);
  if (strange !== undefined) throw refusal(name, `${strange} means nothing in this version`);
  switch (section) {
    case "maps":
      if (!isRecord(value["definition"]) || !isContents(value["contents"])) throw refusal(name, "this is no map");
      return value;
    case "programs":
      if (!isRecord(value["object"]) || !isRecord(value["globals"]) || !isRecord(value["maps"]))
        throw refusal(name, "this is no program");
      return value;
    case "hooks":
      if (parseHookKey(value["key"]) === undefined) throw refusal(name, "there is no such hook in this version");
      if (!Array.isArray(value["members"]) || !isRecord(value["point"])) throw refusal(name, "this is no hook");
      return value;
    case "instances":
      if (!(value["rules"] instanceof Uint8Array) || !Array.isArray(value["programs"]))
        throw refusal(name, "this is no instance");
      shareParts(value["data"]);
      return { ...value, rules: rulesOf(value["rules"], name) };
    default:
      throw refusal(section, "there is no such section in this version");
  }
}

/** Of what was decoded just now: pods under the same policies say the same of themselves, and that is held once. */
function shareParts(data: unknown): void {
  if (!isRecord(data)) return;
  const known = new Map<string, unknown>();
  const items = Object.values(data).flatMap((each): readonly unknown[] => (Array.isArray(each) ? each : []));
  for (const item of items) {
    if (!isRecord(item)) continue;
    for (const [name, part] of Object.entries(item)) {
      if (typeof part !== "object" || part === null) continue;
      const text = Buffer.from(encodeValue(part)).toString("latin1");
      if (known.has(text)) item[name] = known.get(text);
      else known.set(text, part);
    }
  }
}

export function planOf(document: HeldDocument<unknown>): NodePlan {
  return {
    maps: valuesOf(document, "maps") as readonly MapSpec[],
    programs: valuesOf(document, "programs") as readonly ProgramSpec[],
    hooks: valuesOf(document, "hooks") as readonly HookSpec[],
    instances: valuesOf(document, "instances") as readonly FeatureInstance[],
    problems: (valuesOf(document, "problems") as readonly (readonly PlanProblem[])[]).flat(),
  };
}

function rulesOf(bytes: Uint8Array, name: string): FeatureInstance["rules"] {
  try {
    return decodeRules(bytes);
  } catch {
    throw refusal(name, "its rules cannot be read");
  }
}

function isContents(value: unknown): boolean {
  if (!isRecord(value)) return false;
  if (value["kind"] === "live") return true;
  const entries = value["entries"];
  if (value["kind"] === "refers")
    return isRecord(value["inner"]) && Array.isArray(entries) && entries.every(isReference);
  return (
    (value["kind"] === "sealed" || value["kind"] === "kept") &&
    isRecord(entries) &&
    entries["keys"] instanceof Uint8Array &&
    entries["values"] instanceof Uint8Array
  );
}

function isReference(value: unknown): boolean {
  return isRecord(value) && typeof value["slot"] === "number" && typeof value["map"] === "string";
}

function refusal(name: string, why: string): KernelError {
  return new KernelError(`read the plan: ${name}: ${why}; run agent and daemon of one version`, {
    code: "invalid",
    call: "SetPlan",
    retry: "when-changed",
  });
}
