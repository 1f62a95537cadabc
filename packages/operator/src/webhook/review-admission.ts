import { canonicalJson, isRecord, renderRef, type Issue } from "@bpfleet/base";
import { apiVersionOf, findFootGuns, nameAffected, type DefinedKind, type LintView } from "@bpfleet/kinds";
import { allow, parseReview, refuse, type AdmissionAnswer, type AdmissionRequest } from "./admission-review.ts";

export interface AdmissionContext {
  readonly kinds: readonly DefinedKind[];
  readonly view: LintView;
  /** User names of our own processes: what they write is not commented upon. */
  readonly ownUsers: readonly string[];
}

/** Codes of what the CRD of the kind decides, and the API server says: it drops the field, or the kind is deprecated. */
const leftToTheCrd = new Set(["unknown-field", "deprecated-kind"]);

/**
 * Judges one object: refused with everything that is wrong with it, or admitted with warnings. A string says why it is
 * no review at all. Whatever is not a new declaration is admitted: the agent judges objects again anyway.
 */
export function reviewAdmission(review: unknown, context: AdmissionContext): AdmissionAnswer | string {
  const request = parseReview(review);
  if (typeof request === "string") return request;
  const kind = context.kinds.find(
    (known) =>
      known.group === request.kind.group && known.version === request.kind.version && known.kind === request.kind.kind,
  );
  const isDeclared = request.operation === "CREATE" || request.operation === "UPDATE";
  if (kind === undefined || !isDeclared || (request.subResource ?? "") !== "") return allow(request);
  if (kind.madeFrom !== undefined) return allow(request, warnOfMade(request, kind, kind.madeFrom, context));
  return judge(request, kind, context);
}

function judge(request: AdmissionRequest, kind: DefinedKind, { view }: AdmissionContext): AdmissionAnswer {
  const result = kind.parse(withTypes(request.object, kind));
  const errors = result.issues.filter(({ severity }) => severity === "error");
  const issues = result.ok ? nameAffected(result.issues, result.value, view) : result.issues;
  const warnings = issues
    .filter(({ severity, code }) => severity === "warning" && !leftToTheCrd.has(code))
    .map(messageOf);
  const name = nameOf(request, kind);
  const say = (messages: readonly string[]): readonly string[] => messages.map((message) => `${name}: ${message}`);
  if (result.ok) return allow(request, say([...findFootGuns(result.value, view), ...warnings]));
  if (isBeyondRepair(request)) return allow(request, say([...errors.map(messageOf), ...warnings]));
  return refuse(request, errors, say(warnings));
}

/**
 * What was admitted while nobody looked must still be deletable, and its labels and finalizers changeable: only a
 * changed declaration is refused.
 */
function isBeyondRepair({ operation, object, oldObject }: AdmissionRequest): boolean {
  if (operation !== "UPDATE" || !isRecord(object) || !isRecord(oldObject)) return false;
  const { metadata } = object;
  if (isRecord(metadata) && metadata["deletionTimestamp"] !== undefined) return true;
  return canonicalJson(declarationOf(object)) === canonicalJson(declarationOf(oldObject));
}

function declarationOf(object: Readonly<Record<string, unknown>>): unknown {
  const { metadata, spec, specs } = object;
  const { annotations } = isRecord(metadata) ? metadata : {};
  return { annotations, spec, specs };
}

function warnOfMade(
  request: AdmissionRequest,
  kind: DefinedKind,
  madeFrom: string,
  { ownUsers }: AdmissionContext,
): readonly string[] {
  const user = request.userInfo?.username ?? "";
  if (
    ownUsers.includes(user) ||
    user.startsWith("system:serviceaccount:kube-system:") ||
    user.startsWith("system:kube-")
  )
    return [];
  return [
    `${nameOf(request, kind)}: is made from a ${madeFrom}, and what others write into it is undone; change that instead`,
  ];
}

/** An API server need not say the types again in the object. */
function withTypes(object: unknown, kind: DefinedKind): unknown {
  return isRecord(object) ? { apiVersion: apiVersionOf(kind), kind: kind.kind, ...object } : object;
}

function nameOf({ namespace = "", name = "", object }: AdmissionRequest, kind: DefinedKind): string {
  const { metadata } = isRecord(object) ? object : {};
  const { generateName } = isRecord(metadata) ? metadata : {};
  const given = name === "" && typeof generateName === "string" ? `${generateName}*` : name;
  return renderRef({ group: kind.group, kind: kind.kind, namespace, name: given });
}

function messageOf({ message }: Issue): string {
  return message;
}
