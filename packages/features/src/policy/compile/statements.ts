import { refKey, type ObjectRef } from "@bpfleet/base";
import type { EndpointFacts, NodeFacts } from "@bpfleet/kernel";
import type { PolicyIntent, WorkloadIntent } from "../intent.ts";
import type { PolicyStatement, Requirement } from "../policy.ts";
import { mistakeText, type ClosedPolicy } from "./limits.ts";
import { AskedKeys, LabelIndex } from "./label-index.ts";
import { nodeEndpoint } from "./node-endpoint.ts";
import { labelledPod } from "./population.ts";
import type { Direction } from "./read-rule.ts";

export interface Statement {
  readonly intent: PolicyIntent;
  readonly statement: PolicyStatement;
  /** Which one of the object it is. */
  readonly number: number;
}

/** A pod of this node, or the node itself. */
export interface LocalPod {
  readonly workload: WorkloadIntent;
  /** Key in the facts. */
  readonly key: string;
  readonly facts: EndpointFacts | undefined;
  /** Ascending: indexes of the statements that select it. One list for all whom the same ones select. */
  readonly statements: readonly number[];
  /** `workload` has nothing but the node's name then. */
  readonly isNode?: true | undefined;
}

export interface Selection {
  /** Those that select a pod of this node, or the node itself, ordered by object. */
  readonly statements: readonly Statement[];
  /** The node itself is the last one, where something selects it. */
  readonly pods: readonly LocalPod[];
}

/** Which policies select which pods of this node, and the node. Those of which it cannot be told are added to `closed`. */
export function selectPods(
  intents: readonly PolicyIntent[],
  workloads: readonly WorkloadIntent[],
  facts: Pick<NodeFacts, "endpoints" | "nodeName">,
  closed: Map<string, ClosedPolicy>,
  /** Of this node. */
  labels: Readonly<Record<string, string>> = {},
): Selection {
  const asked = new AskedKeys();
  const all = intents.toSorted(byObject).flatMap((intent) => {
    try {
      const statements = statementsOf(intent);
      for (const { statement } of statements) asked.ask(statement.subject.where);
      return statements;
    } catch (error) {
      const { ref } = intent.policy;
      closed.set(refKey(ref), { ref, why: mistakeText("select", error) });
      if (intent.policy.statements.every(({ subject }) => subject.selects === "nodes")) return [];
      const everybody = { intent, statement: closeNamespace(ref), number: 0 };
      asked.ask(everybody.statement.subject.where);
      return [everybody];
    }
  });
  const index = new LabelIndex(asked);
  const local = workloads.flatMap((workload) =>
    workload.endpoint === undefined || workload.isHostNetwork
      ? []
      : [{ workload, key: workload.endpoint, number: index.add(labelledPod(workload)) }],
  );
  const nodes = new LabelIndex(asked);
  nodes.add({ own: "node", labels });
  const ofNode: number[] = [];
  const selecting: Statement[] = [];
  const byNumber = Array.from({ length: index.size }, (): number[] => []);
  for (const each of all) {
    const { where, selects } = each.statement.subject;
    if (selects === "nodes") {
      if (nodes.select(where).length > 0) ofNode.push(selecting.push(each) - 1);
      continue;
    }
    const selected = index.select(where);
    const certain = index.isSure ? selected : index.select(where, "certain");
    const isCertain = new Set(certain);
    const perhaps = index.isSure ? [] : selected.filter((number) => !isCertain.has(number));
    for (const [numbers, own] of [
      [certain, each],
      [perhaps, withoutAllowing(each)],
    ] as const) {
      if (numbers.length === 0) continue;
      for (const number of numbers) byNumber[number]?.push(selecting.length);
      selecting.push(own);
    }
  }
  const lists = new Map<string, readonly number[]>();
  const shared = (numbers: readonly number[] = []): readonly number[] => {
    const text = numbers.join();
    const known = lists.get(text) ?? numbers;
    lists.set(text, known);
    return known;
  };
  const pods = local.map(({ workload, key, number }) => ({
    workload,
    key,
    facts: facts.endpoints?.[key],
    statements: shared(byNumber[number]),
  }));
  return { statements: selecting, pods: ofNode.length === 0 ? pods : [...pods, nodeEndpoint(facts, ofNode)] };
}

/** For pods of which it is not known whether they are selected: they are isolated, and nothing is allowed. */
function withoutAllowing({ statement, ...rest }: Statement): Statement {
  const { ingress, egress } = statement;
  return {
    ...rest,
    statement: { ...statement, ingress: { ...ingress, allow: [] }, egress: { ...egress, allow: [] } },
  };
}

/** Every requirement is looked at: what is not as it should be shows here. */
function statementsOf(intent: PolicyIntent): readonly Statement[] {
  return intent.policy.statements.flatMap((statement, number) => {
    const { ingress, egress } = statement;
    for (const { on, key, values } of statement.subject.where)
      if (`${on}${key}` === "" || !Array.isArray(values)) throw new TypeError("a requirement without a key");
    for (const { allow, deny } of [ingress, egress])
      if (!Array.isArray(allow) || !Array.isArray(deny)) throw new TypeError("rules that are no list");
    return [{ intent, statement, number }];
  });
}

/** It is not known whom the policy selects: it may be anybody there. */
function closeNamespace(ref: ObjectRef): PolicyStatement {
  const origin = { object: ref, path: "" };
  const where: readonly Requirement[] =
    ref.namespace === "" ? [] : [{ on: "namespace-name", key: "", operator: "In", values: [ref.namespace] }];
  const nothing = { isDefaultDeny: true, allow: [], deny: [] };
  return { origin, subject: { selects: "pods", where, origin }, ingress: nothing, egress: nothing, options: {} };
}

/** Whether a statement has a say about a direction. */
function speaksOf({ statement, intent }: Statement, direction: Direction): boolean {
  const { isDefaultDeny, allow, deny } = statement[direction];
  const isLimited =
    intent.mostConnections !== undefined || (direction === "egress" && intent.connectionRate !== undefined);
  return isDefaultDeny || allow.length > 0 || deny.length > 0 || isLimited;
}

/**
 * Those of some statements that decide, by lists of which each must allow: of policies, or of the fallback where none
 * has a say; of containers; of ports.
 */
export function decidingOf(
  numbers: readonly number[],
  statements: readonly Statement[],
  direction: Direction,
): readonly (readonly number[])[] {
  const speaking = numbers.filter((number) => {
    const statement = statements[number];
    return statement !== undefined && speaksOf(statement, direction);
  });
  const of = (tier: PolicyIntent["tier"]): readonly number[] =>
    speaking.filter((number) => statements[number]?.intent.tier === tier);
  const policies = of("policy");
  const lists = [policies.length > 0 ? policies : of("fallback"), of("container"), of("l4")];
  return lists.filter((list) => list.length > 0);
}

function byObject(a: PolicyIntent, b: PolicyIntent): number {
  const [left, right] = [refKey(a.policy.ref), refKey(b.policy.ref)];
  return left < right ? -1 : left > right ? 1 : 0;
}

const enforced = new WeakMap<readonly number[], readonly number[]>();

/** Those that are not only tried out; the same list for the same one. */
export function enforcedOf(numbers: readonly number[], statements: readonly Statement[]): readonly number[] {
  const known = enforced.get(numbers);
  if (known !== undefined) return known;
  const all = numbers.filter((number) => statements[number]?.intent.policy.mode !== "shadow");
  const own = all.length === numbers.length ? numbers : all;
  enforced.set(numbers, own);
  return own;
}
