import type { PolicySubject } from "@bpfleet/features";
import { meetsAll, type LabelFacts } from "../policy/requirements.ts";
import type { LintPod, LintView } from "./lint-view.ts";

type Subject = Pick<PolicySubject, "selects" | "where">;

/** Things that a warning names; of more it says how many there are. */
const told = 3;

export function listPods(pods: readonly LintPod[]): string {
  return listNames(pods.map(({ namespace, name }) => `${namespace}/${name}`));
}

export function listNames(names: readonly string[]): string {
  const more = names.length > told ? ` and ${names.length - told} more` : "";
  return `${names.toSorted().slice(0, told).join(", ")}${more}`;
}

/** Pods that are judged by what is said of the subject, without those that one of `but` selects. */
export function judgedPods(subject: Subject, view: LintView, but: readonly Subject[] = []): readonly LintPod[] {
  if (subject.selects !== "pods") return [];
  return view.findPods((pod) => pod.isHostNetwork !== true && isSelected(pod, subject, but), Infinity) ?? [];
}

/** Whom the subject selects: `shop/web`, `node edge-1`; `undefined` for nobody that is known. */
export function nameSubject(subject: Subject, view: LintView, but: readonly Subject[] = []): string | undefined {
  if (subject.selects === "pods") {
    const pods = judgedPods(subject, view, but);
    return pods.length === 0 ? undefined : listPods(pods);
  }
  const nodes = view.findNodes((node) => isSelected(node, subject, but)) ?? [];
  return nodes.length === 0 ? undefined : `${nodes.length === 1 ? "node" : "nodes"} ${listNames(nodes)}`;
}

function isSelected(facts: LabelFacts, { selects, where }: Subject, but: readonly Subject[]): boolean {
  return meetsAll(where, facts) && !but.some((each) => each.selects === selects && meetsAll(each.where, facts));
}
