import type { Policy, PolicyRule, PolicyStatement, PolicySubject } from "@bpfleet/features";
import type { Parsed } from "../kind.ts";
import { meetsAll } from "../policy/requirements.ts";
import { renderPath } from "../yaml/places.ts";
import { allowsDns } from "./allows-dns.ts";
import type { LintView } from "./lint-view.ts";
import { findMissedByCidrs } from "./missed-by-cidrs.ts";
import { findNamelessPorts } from "./named-ports.ts";
import { judgedPods, listPods, nameSubject } from "./names.ts";
import { findNarrowed } from "./narrowed.ts";
import type { OrderedStatement } from "./ordered-statement.ts";
import { findOverruled, isEverything } from "./overruled.ts";

/** What a policy does to the pods and nodes that there are, and most likely is not to. */
export function findPolicyFootGuns(parsed: Parsed, policy: Policy, view: LintView): readonly string[] {
  const answering = policy.statements.filter(({ subject, egress }) => allowsDns(egress, subject, view));
  const ofStatements = policy.statements.flatMap((statement) => [
    ...findUnjudged(statement, view),
    ...findSilenced(statement, `${statement.origin.path}/egress`, view, answering),
    ...findDenying(statement, view, policy.statements),
    ...findOverruled(statement, view),
    ...findNamelessPorts(statement, view),
  ]);
  return [...ofStatements, ...findNarrowed(parsed, policy, view), ...findMissedByCidrs(policy, view)];
}

/** The same of what has rules in an order. */
export function findOrderedFootGuns({ statement, egressPath }: OrderedStatement, view: LintView): readonly string[] {
  return [...findUnjudged(statement, view), ...findSilenced(statement, egressPath, view)];
}

/** A rule that denies closes its direction, and none that allows stands above it: both are elsewhere often otherwise. */
function findDenying(statement: PolicyStatement, view: LintView, all: readonly PolicyStatement[]): readonly string[] {
  const { subject, origin } = statement;
  return (["ingress", "egress"] as const).flatMap((side): readonly string[] => {
    const { isDefaultDeny, allow, deny } = statement[side];
    const whole = deny.find(isEverything);
    const isClosed = whole === undefined && deny.length > 0 && allow.length === 0 && isDefaultDeny;
    const isOverruled = whole !== undefined && !allow.every(isEmpty);
    if (!isClosed && !isOverruled) return [];
    const but = isClosed ? subjectsOf(all.filter((each) => each[side].allow.length > 0)) : [];
    const whom = nameSubject(subject, view, but);
    if (whom === undefined) return [];
    if (whole !== undefined)
      return [
        `${renderPath(whole.origin.path)}: denies everything of ${whom}, also what a rule allows: a deny always wins`,
      ];
    const instead = `set enableDefaultDeny.${side} to false for the rest to pass`;
    return [
      `${renderPath(`${origin.path}/${side}Deny`)}: closes ${side} of ${whom} for everybody, unless another policy allows; ${instead}`,
    ];
  });
}

/** Pods on the network of their node: nobody can tell their packets from its own. */
function findUnjudged({ subject }: PolicyStatement, view: LintView): readonly string[] {
  if (subject.selects !== "pods" || subject.where.length === 0) return [];
  const pods = view.findPods((pod) => pod.isHostNetwork === true && meetsAll(subject.where, pod), Infinity) ?? [];
  if (pods.length === 0) return [];
  return [`${renderPath(subject.origin.path)}: ${listPods(pods)} on the network of the node: no policy judges that`];
}

/** What may not ask for names seldom works, however much else it may reach. */
function findSilenced(
  { subject, egress }: PolicyStatement,
  path: string,
  view: LintView,
  answering: readonly PolicyStatement[] = [],
): readonly string[] {
  if (!egress.isDefaultDeny || allowsDns(egress, subject, view)) return [];
  // Who may reach nothing at all is meant to.
  if (egress.allow.every(isEmpty)) return [];
  const pods = judgedPods(subject, view, subjectsOf(answering));
  if (pods.length === 0) return [];
  const [first, rest] = [
    listPods(pods),
    "cannot ask for names: no rule allows UDP port 53, unless another policy does",
  ];
  return [`${renderPath(path)}: ${first} ${rest}`];
}

/** Each is held against every pod of a cluster. */
const maxBeside = 32;

function subjectsOf(statements: readonly PolicyStatement[]): readonly PolicySubject[] {
  return statements.slice(0, maxBeside).map(({ subject }) => subject);
}

function isEmpty({ peers, ports }: PolicyRule): boolean {
  return peers.length === 0 || ports.length === 0;
}
