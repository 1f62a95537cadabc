import { isRecord, type Issue } from "@bpfleet/base";
import type { PolicySubject } from "@bpfleet/features";
import type { Parsed } from "../kind.ts";
import { findPolicy } from "../policy/read-policy.ts";
import { inNamespace, labelsOf, toRequirements } from "../policy/requirements.ts";
import { valueAt } from "../yaml/places.ts";
import type { LintView } from "./lint-view.ts";
import { nameSubject } from "./names.ts";
import { findOrdered } from "./ordered-statement.ts";

/** Of how something is written, whoever it is about. */
const ofForm: ReadonlySet<string> = new Set(["not-cilium", "host-bits", "deprecated-kind", "unknown-field"]);

/** Warnings of an object that says who may talk to whom, with the pods or nodes behind them that it selects now. */
export function nameAffected(issues: readonly Issue[], parsed: Parsed, view: LintView): readonly Issue[] {
  const subjects = subjectsOf(parsed);
  if (subjects.length === 0) return issues;
  const names = new Map<string, string | undefined>();
  return issues.map((issue) => {
    const about = subjects.find(({ path }) => issue.path.startsWith(path));
    if (issue.severity !== "warning" || ofForm.has(issue.code) || about === undefined) return issue;
    if (!names.has(about.path)) names.set(about.path, nameSubject(about.subject, view));
    const whom = names.get(about.path);
    return whom === undefined ? issue : { ...issue, message: `${issue.message} (${whom})` };
  });
}

interface Subject {
  readonly path: string;
  readonly subject: Pick<PolicySubject, "selects" | "where">;
}

function subjectsOf(parsed: Parsed): readonly Subject[] {
  const policy = findPolicy(parsed);
  if (policy !== undefined)
    return policy.statements.map(({ origin: { path }, subject }) => ({ path: `${path}/`, subject }));
  const ordered = findOrdered(parsed);
  if (ordered !== undefined) return [{ path: "/spec", subject: ordered.statement.subject }];
  if (parsed.ref.kind !== "PodConfigMapConfig") return [];
  const selector = valueAt(parsed.object, "/spec/podSelector");
  const where = isRecord(selector) ? toRequirements(selector, labelsOf("pod")) : [];
  return [{ path: "/spec", subject: { selects: "pods", where: [inNamespace(parsed.ref.namespace), ...where] } }];
}
