import { isRecord } from "@bpfleet/base";
import type { PolicyDirection, PolicyIntent, PolicyRule, Requirement } from "@bpfleet/features";
import type { Closing, RefusedObject } from "../kind.ts";
import { modesOf, readContext, type ReadContext } from "./read-context.ts";
import { inNamespace } from "./requirements.ts";

/** `isolated`: what no other policy allows is denied. `denied`: so is what others allow. */
export type Closure = "open" | "isolated" | "denied";

/** One statement of an object that its kind refuses, as far as it can be read. */
export interface ClosedPart {
  readonly path: string;
  /** `undefined`: it is not about pods, or nothing tells about which. */
  readonly where: readonly Requirement[] | undefined;
  readonly ingress: Closure;
  readonly egress: Closure;
}

export const everythingDenied = { ingress: "denied", egress: "denied" } as const;

/**
 * What an object that is refused as a whole keeps from its pods: nothing that it would allow passes by it, and what it
 * might deny is denied. Where nothing of it can be read, all pods of its namespace are meant; of an object of the whole
 * cluster nobody is, since that would cut off every pod.
 */
export function closeRefused(
  refused: RefusedObject,
  order: Pick<PolicyIntent, "tier" | "priority">,
  parts: readonly ClosedPart[],
): Closing {
  const context = readContext(refused);
  const { namespace } = context;
  const own = namespace === undefined ? [] : [inNamespace(namespace)];
  const closing = parts.filter(
    ({ where, ingress, egress }) => where !== undefined && `${ingress}${egress}` !== "openopen",
  );
  const statements = closing.map(({ path, where = [], ingress, egress }) => ({
    origin: context.originOf(path),
    subject: { selects: "pods", where: [...own, ...where], origin: context.originOf(path) } as const,
    ingress: directionOf(ingress, path, context),
    egress: directionOf(egress, path, context),
    options: {},
  }));
  if (statements.length === 0) return { intents: [], so: "it is not in force, and nothing is denied by it" };
  const intent: PolicyIntent = {
    feature: "policy",
    about: "policy",
    origin: context.originOf(""),
    ...order,
    policy: { ref: refused.ref, ...modesOf(fieldsOf(refused.object, "metadata", "annotations") ?? {}), statements },
  };
  return { intents: [intent], so: tell(closing, intent) };
}

function tell(parts: readonly ClosedPart[], { policy: { mode, ref } }: PolicyIntent): string {
  if (mode === "shadow") return "it is not counted either";
  const are = (direction: "ingress" | "egress"): boolean => parts.some((part) => part[direction] !== "open");
  const directions = (["ingress", "egress"] as const).filter(are).join(" and ");
  const isEverybody = ref.namespace !== "" && parts.some(({ where }) => where?.length === 0);
  const whom = isEverybody ? `all pods of namespace ${ref.namespace}` : "the pods that it selects";
  const unless = parts.some((part) => part.ingress === "denied" || part.egress === "denied")
    ? ""
    : ", but for what other policies allow";
  return `until it is corrected, ${whom} are closed in ${directions}${unless}`;
}

function directionOf(closure: Closure, path: string, context: ReadContext): PolicyDirection {
  const everything: PolicyRule = {
    origin: context.originOf(path),
    description: undefined,
    peers: "any",
    ports: "any",
    bandwidth: undefined,
    unserved: [],
  };
  return { isDefaultDeny: closure !== "open", allow: [], deny: closure === "denied" ? [everything] : [] };
}

/** The spec of an object, and everything else, as far as it is a mapping. */
export function fieldsOf(value: unknown, ...path: readonly string[]): Readonly<Record<string, unknown>> | undefined {
  let at = value;
  for (const name of path) at = isRecord(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  return isRecord(at) ? at : undefined;
}

/** Left out, or empty in YAML. */
export function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

/** A list that is there, or something that was to be one. */
export function hasItems(value: unknown): boolean {
  return !isAbsent(value) && !(Array.isArray(value) && value.length === 0);
}

/** Of rules that are asked in their order, and let pass what none denies. */
export function mayDeny(rules: unknown): boolean {
  if (!Array.isArray(rules)) return hasItems(rules);
  return rules.some(
    (rule) => !isRecord(rule) || !["allow", "log", "mark", null, undefined].includes(rule["action"] as string),
  );
}

export function priorityOf(spec: Readonly<Record<string, unknown>> | undefined, otherwise: number): number {
  const priority = spec?.["priority"];
  if (isAbsent(priority)) return otherwise;
  return typeof priority === "number" && Number.isInteger(priority) ? priority : Number.MIN_SAFE_INTEGER;
}

export interface ReadSelector {
  /** Those that can be read: whoever the selector means meets them, and others may. */
  readonly where: readonly Requirement[];
  readonly isWhole: boolean;
}

/** Of a selector that may be anything. */
export function readSelector(selector: unknown, place: (key: string) => Pick<Requirement, "on" | "key">): ReadSelector {
  if (isAbsent(selector)) return { where: [], isWhole: true };
  if (!isRecord(selector)) return { where: [], isWhole: false };
  const { matchLabels, matchExpressions, ...others } = selector;
  const labels = isAbsent(matchLabels)
    ? []
    : isRecord(matchLabels)
      ? Object.entries(matchLabels).map(([key, value]) =>
          readRequirement({ key, operator: "In", values: [value] }, place),
        )
      : [undefined];
  const expressions = isAbsent(matchExpressions)
    ? []
    : Array.isArray(matchExpressions)
      ? matchExpressions.map((each) => readRequirement(each, place))
      : [undefined];
  const all = [...labels, ...expressions];
  const where = all.filter((requirement) => requirement !== undefined);
  return { where, isWhole: where.length === all.length && Object.keys(others).length === 0 };
}

const labelValue = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;

function readRequirement(
  requirement: unknown,
  place: (key: string) => Pick<Requirement, "on" | "key">,
): Requirement | undefined {
  if (!isRecord(requirement)) return undefined;
  const { key, operator, values = [], ...others } = requirement;
  const isListed = operator === "In" || operator === "NotIn";
  if (!isListed && operator !== "Exists" && operator !== "DoesNotExist") return undefined;
  const isSound =
    typeof key === "string" &&
    key !== "" &&
    Array.isArray(values) &&
    values.length > 0 === isListed &&
    values.every((value) => typeof value === "string" && value.length < 64 && labelValue.test(value)) &&
    Object.keys(others).length === 0;
  return isSound ? { ...place(key), operator, values: values as readonly string[] } : undefined;
}
