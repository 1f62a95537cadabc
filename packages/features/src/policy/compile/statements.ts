import { refKey } from "@bpfleet/base";
import type { EndpointFacts, NodeFacts } from "@bpfleet/kernel";
import type { PolicyIntent, WorkloadIntent } from "../intent.ts";
import type { PolicyStatement } from "../policy.ts";
import { AskedKeys, LabelIndex } from "./label-index.ts";
import { labelledPod } from "./population.ts";
import type { Direction } from "./read-rule.ts";

export interface Statement {
  readonly intent: PolicyIntent;
  readonly statement: PolicyStatement;
  /** Which one of the object it is. */
  readonly number: number;
}

/** A pod of this node. */
export interface LocalPod {
  readonly workload: WorkloadIntent;
  /** Key in the facts. */
  readonly key: string;
  readonly facts: EndpointFacts | undefined;
  /** Ascending: indexes of the statements that select it. */
  readonly statements: readonly number[];
}

export interface Selection {
  /** Those that select a pod of this node, ordered by object. */
  readonly statements: readonly Statement[];
  readonly pods: readonly LocalPod[];
}

/** Which policies select which pods of this node. */
export function selectPods(
  intents: readonly PolicyIntent[],
  workloads: readonly WorkloadIntent[],
  facts: Pick<NodeFacts, "endpoints">,
): Selection {
  const asked = new AskedKeys();
  const all = intents.toSorted(byObject).flatMap((intent) =>
    intent.policy.statements.flatMap((statement, number) => {
      if (statement.subject.selects !== "pods") return [];
      asked.ask(statement.subject.where);
      return [{ intent, statement, number }];
    }),
  );
  const index = new LabelIndex(asked);
  const local = workloads.flatMap((workload) =>
    workload.endpoint === undefined || workload.isHostNetwork
      ? []
      : [{ workload, key: workload.endpoint, number: index.add(labelledPod(workload)) }],
  );
  const selecting: Statement[] = [];
  const byNumber = Array.from({ length: index.size }, (): number[] => []);
  for (const each of all) {
    const selected = index.select(each.statement.subject.where);
    if (selected.length === 0) continue;
    for (const number of selected) byNumber[number]?.push(selecting.length);
    selecting.push(each);
  }
  const pods = local.map(({ workload, key, number }) => ({
    workload,
    key,
    facts: facts.endpoints?.[key],
    statements: byNumber[number] ?? [],
  }));
  return { statements: selecting, pods };
}

/** Whether a statement has a say about a direction. */
export function speaksOf({ statement }: Statement, direction: Direction): boolean {
  const { isDefaultDeny, allow, deny } = statement[direction];
  return isDefaultDeny || allow.length > 0 || deny.length > 0;
}

/** Those of some statements that decide: the fallback only where nobody else has a say. */
export function decidingOf(
  numbers: readonly number[],
  statements: readonly Statement[],
  direction: Direction,
): readonly number[] {
  const speaking = numbers.filter((number) => {
    const statement = statements[number];
    return statement !== undefined && speaksOf(statement, direction);
  });
  const first = speaking.filter((number) => statements[number]?.intent.tier === "policy");
  return first.length > 0 ? first : speaking;
}

function byObject(a: PolicyIntent, b: PolicyIntent): number {
  const [left, right] = [refKey(a.policy.ref), refKey(b.policy.ref)];
  return left < right ? -1 : left > right ? 1 : 0;
}
