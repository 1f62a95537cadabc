import type { PolicyDirection, PolicyIntent, PolicyStatement } from "@bpfleet/features";
import type { Lowered, Parsed } from "../kind.ts";
import { lowerContainerPolicy } from "../networking.fos1.io/ebpfcontainerpolicy/lower.ts";
import type { EBPFContainerPolicy } from "../networking.fos1.io/ebpfcontainerpolicy/schema.ts";
import { lowerNetworkPolicy } from "../networking.fos1.io/ebpfnetworkpolicy/lower.ts";
import type { EBPFNetworkPolicy } from "../networking.fos1.io/ebpfnetworkpolicy/schema.ts";
import { isEverything } from "./overruled.ts";

/** What an object says whose rules have an order, and the field of its rules about what is sent. */
export interface OrderedStatement {
  readonly statement: PolicyStatement;
  readonly egressPath: string;
}

/** As one statement: the rules that a packet may meet, up to the first that denies everything. */
export function findOrdered(parsed: Parsed): OrderedStatement | undefined {
  const { group, kind } = parsed.ref;
  if (group !== "networking.fos1.io") return undefined;
  if (kind === "EBPFNetworkPolicy")
    return fold(lowerNetworkPolicy(parsed as Parsed<EBPFNetworkPolicy>), "/spec/egress");
  if (kind !== "EBPFContainerPolicy") return undefined;
  return fold(lowerContainerPolicy(parsed as Parsed<EBPFContainerPolicy>), "/spec/networkControls/egressRules");
}

function fold({ intents }: Lowered, egressPath: string): OrderedStatement | undefined {
  const statements = (intents as readonly PolicyIntent[]).flatMap(({ policy }) => policy.statements);
  const [first] = statements;
  if (first === undefined) return undefined;
  const ingress = foldDirection(statements.map((each) => each.ingress));
  const egress = foldDirection(statements.map((each) => each.egress));
  return { statement: { ...first, ingress, egress }, egressPath };
}

function foldDirection(parts: readonly PolicyDirection[]): PolicyDirection {
  const last = parts.findIndex(({ isDefaultDeny, deny }) => isDefaultDeny || deny.some(isEverything));
  const met = last < 0 ? parts : parts.slice(0, last);
  return { isDefaultDeny: last >= 0, allow: met.flatMap(({ allow }) => allow), deny: met.flatMap(({ deny }) => deny) };
}
