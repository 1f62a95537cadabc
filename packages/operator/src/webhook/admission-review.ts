import { isRecord, type Issue } from "@bpfleet/base";
import { renderPath } from "@bpfleet/kinds";

/** https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request */
export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly subResource?: string;
  readonly name?: string;
  readonly namespace?: string;
  readonly operation: string;
  readonly userInfo?: { readonly username?: string };
  readonly object?: unknown;
  readonly oldObject?: unknown;
}

/** https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response */
export interface AdmissionAnswer {
  readonly apiVersion: "admission.k8s.io/v1";
  readonly kind: "AdmissionReview";
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly status?: AdmissionStatus;
    readonly warnings?: readonly string[];
  };
}

interface AdmissionStatus {
  readonly status: "Failure";
  readonly code: 422;
  readonly reason: "Invalid";
  readonly message: string;
  readonly details: {
    readonly name: string;
    readonly group: string;
    readonly kind: string;
    readonly causes: readonly { readonly reason: string; readonly message: string; readonly field: string }[];
  };
}

/** An API server keeps 4,096 characters of all warnings of one answer. */
const maxWarningLength = 4096;
const maxCauses = 100;
/** Names of fields are as long as their author wants. */
const maxTextLength = 1024;

/** The request of a review, or why there is none. */
export function parseReview(review: unknown): AdmissionRequest | string {
  if (!isRecord(review) || review["kind"] !== "AdmissionReview") return "no AdmissionReview";
  if (review["apiVersion"] !== "admission.k8s.io/v1") return "no AdmissionReview of version v1";
  const { request } = review;
  if (!isRecord(request) || typeof request["uid"] !== "string" || typeof request["operation"] !== "string")
    return "no request with uid and operation";
  const { kind } = request;
  if (!isRecord(kind) || ["group", "version", "kind"].some((name) => typeof kind[name] !== "string"))
    return "no kind in the request";
  return request as unknown as AdmissionRequest;
}

export function allow({ uid }: AdmissionRequest, warnings: readonly string[] = []): AdmissionAnswer {
  return answer({ uid, allowed: true, ...withWarnings(warnings) });
}

/** Refuses for all mistakes together; kubectl prints every one of them. */
export function refuse(
  request: AdmissionRequest,
  errors: readonly Issue[],
  warnings: readonly string[],
): AdmissionAnswer {
  const { group, kind } = request.kind;
  const causes = errors.slice(0, maxCauses).map(({ path, code, message }) => ({
    reason: reasons[code] ?? "FieldValueInvalid",
    message: cut(message),
    field: path === "" ? "" : cut(renderPath(path)),
  }));
  const rest = errors.length - causes.length;
  const message = causes.map((cause) => cause.message).join("; ") + (rest > 0 ? `; and ${rest} more` : "");
  const details = { name: request.name ?? "", group, kind, causes };
  return answer({
    uid: request.uid,
    allowed: false,
    status: { status: "Failure", code: 422, reason: "Invalid", message, details },
    ...withWarnings(warnings),
  });
}

const reasons: Readonly<Record<string, string>> = {
  required: "FieldValueRequired",
  forbidden: "FieldValueForbidden",
  duplicate: "FieldValueDuplicate",
  enum: "FieldValueNotSupported",
};

function cut(text: string): string {
  return text.length > maxTextLength ? `${text.slice(0, maxTextLength - 1)}…` : text;
}

function answer(response: AdmissionAnswer["response"]): AdmissionAnswer {
  return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response };
}

/** As many as an API server passes on; the last one says how many there are besides. */
function withWarnings(warnings: readonly string[]): { readonly warnings?: readonly string[] } {
  const unique = [...new Set(warnings)];
  const kept: string[] = [];
  let length = 64;
  for (const warning of unique.map(cut)) {
    length += warning.length;
    if (length > maxWarningLength) break;
    kept.push(warning);
  }
  const rest = unique.length - kept.length;
  if (rest > 0) kept.push(`and ${rest} more`);
  return kept.length === 0 ? {} : { warnings: kept };
}
