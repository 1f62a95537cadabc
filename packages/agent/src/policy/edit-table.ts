import type { ObjectRef } from "@bpfleet/base";
import {
  judgeTable,
  nodeInstanceKey,
  policy,
  type Intent,
  type PlanMemory,
  type PolicyData,
  type TableQuestion,
} from "@bpfleet/features";
import type { NodeFacts, RuleRef } from "@bpfleet/kernel";
import type { DroppedPacket } from "./dropped-packet.ts";
import { policyIntents } from "./who-is.ts";

export interface Judged {
  readonly verdict: "pass" | "drop";
  readonly reason: string;
  readonly rule: RuleRef | undefined;
}

export interface TableWorld {
  readonly facts: NodeFacts;
  /** What tables leave to the next of the same node. */
  readonly memory: PlanMemory;
}

/** The policies of a node, compiled, and asked. */
export class EditTable {
  readonly #lines: Uint8Array | undefined;
  readonly #rules: readonly RuleRef[];
  readonly isolating: readonly { readonly object: ObjectRef; readonly path: string }[];

  constructor(intents: readonly Intent[], { facts, memory }: TableWorld, { ifindex, direction }: DroppedPacket) {
    const plan = policy.plan(policyIntents(intents), facts, memory);
    const contents = plan.maps.find(({ name }) => name === "lines")?.contents;
    const node = plan.instances.find(({ key }) => key === nodeInstanceKey);
    this.#lines = contents?.kind === "sealed" ? contents.entries.values : undefined;
    this.#rules = node?.rules ?? [];
    const data = node?.data as PolicyData | undefined;
    this.isolating = data === undefined ? [] : isolatingOf(data, ifindex, direction);
  }

  judge(question: TableQuestion): Judged {
    if (this.#lines === undefined) return { verdict: "pass", reason: "not_judged", rule: undefined };
    const { verdict, reason, rule } = judgeTable(this.#lines, question);
    return { verdict, reason, rule: this.#rules.find(({ index }) => index === rule) };
  }
}

function isolatingOf(data: PolicyData, ifindex: number, direction: "ingress" | "egress"): EditTable["isolating"] {
  const own = data.endpoints.filter((each) => each.ifindex === ifindex);
  const places = new Set(own.flatMap(({ isolatedBy }) => isolatedBy?.[direction] ?? []));
  return [...places].flatMap((at) => data.isolating?.[at] ?? []);
}
