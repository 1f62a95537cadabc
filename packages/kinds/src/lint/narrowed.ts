import { isRecord } from "@bpfleet/base";
import type { Peer, Policy, PolicyRule, Requirement } from "@bpfleet/features";
import type { Parsed } from "../kind.ts";
import { inNamespace, meetsAll, namespaceKey, parseSelectorKey, toRequirements } from "../policy/requirements.ts";
import { renderPath, valueAt } from "../yaml/places.ts";
import type { LintView } from "./lint-view.ts";
import { listPods, nameSubject } from "./names.ts";

/** Each may look at every pod of a cluster, and somebody waits for the answer. */
const maxLooks = 16;

const lists = [
  { side: "ingress", list: "allow", so: (whom: string) => `nobody else reaches ${whom} by it` },
  { side: "ingress", list: "deny", so: (whom: string) => `nobody else is kept from ${whom} by it` },
  { side: "egress", list: "allow", so: (whom: string) => `nobody else is reached from ${whom} by it` },
  { side: "egress", list: "deny", so: (whom: string) => `nobody else is kept from what ${whom} sends by it` },
] as const;

/** An empty selector of peers reads like everybody, and means the policy's namespace. */
export function findNarrowed({ object }: Parsed, policy: Policy, view: LintView): readonly string[] {
  const { namespace, group } = policy.ref;
  if (group !== "cilium.io" || namespace === "") return [];
  const narrowed = policy.statements.flatMap((statement) =>
    lists.flatMap((place) =>
      peersOf(statement[place.side][place.list])
        .filter(({ origin }) => isEmpty(valueAt(object, origin.path)))
        .map(({ origin }) => ({ ...place, origin, subject: statement.subject })),
    ),
  );
  return narrowed.slice(0, maxLooks).map(({ side, so, origin, subject }) => {
    const everybody = side === "ingress" ? "fromEntities" : "toEntities";
    const whom = nameSubject(subject, view) ?? "the selected pods";
    return `${renderPath(origin.path)}: means the pods of namespace ${namespace} alone, so ${so(whom)}; ${everybody}: [all] is everybody, k8s:${namespaceKey}: ${namespace} says that these are meant`;
  });
}

function peersOf(rules: readonly PolicyRule[]): readonly Peer[] {
  return rules.flatMap(({ peers }) => (peers === "any" ? [] : peers.filter(({ peer }) => peer === "pods")));
}

function isEmpty(selector: unknown): boolean {
  if (!isRecord(selector)) return false;
  const { matchLabels, matchExpressions } = selector;
  return (
    Object.keys(isRecord(matchLabels) ? matchLabels : {}).length === 0 &&
    (!Array.isArray(matchExpressions) || matchExpressions.length === 0)
  );
}

/** The labels that a selector asks for, where it means one namespace without naming it; `undefined` elsewhere. */
export function asksInOneNamespace(
  { object, ref }: Parsed,
  { path }: { readonly path: string },
  where: readonly Requirement[],
): readonly Requirement[] | undefined {
  const isBound = JSON.stringify(where[0]) === JSON.stringify(inNamespace(ref.namespace));
  if (ref.namespace === "" || !isBound || where.length < 2 || namesNamespace(valueAt(object, path))) return undefined;
  return where.slice(1);
}

function namesNamespace(selector: unknown): boolean {
  if (!isRecord(selector)) return false;
  if (selector["namespaceSelector"] !== undefined) return true;
  return toRequirements(selector, parseSelectorKey).some(({ on }) => on === "namespace-name");
}

/** ` in namespace shop; other/web has these labels` where pods of other namespaces have them. */
export function labelledElsewhere(
  where: readonly Requirement[] | undefined,
  namespace: string,
  view: LintView,
): string {
  if (where === undefined) return "";
  const pods = view.findPods((pod) => pod.namespace !== namespace && meetsAll(where, pod), Infinity) ?? [];
  if (pods.length === 0) return "";
  return `, and means namespace ${namespace} alone; ${listPods(pods)} ${pods.length === 1 ? "has" : "have"} these labels elsewhere`;
}
