import { checkPolicyAnnotations } from "../../policy/check-annotations.ts";
import { lockOutText } from "../../policy/lock-out.ts";
import type { IssueList } from "../../schema/admit.ts";
import { recordItems } from "../../schema/sound-items.ts";
import { checkIpBlock } from "../parts/ip-block.ts";
import { warnOfLogging } from "../parts/rule-log.ts";
import { warnOfUnreached } from "../parts/rule-order.ts";
import type { EBPFNetworkPolicy, NetworkPolicySpec } from "./schema.ts";

type Rule = NonNullable<NetworkPolicySpec["ingress"]>[number] & NonNullable<NetworkPolicySpec["egress"]>[number];

/** What spans fields too deep for the API server, and what is probably not meant. */
export function checkNetworkPolicy({ metadata, spec }: EBPFNetworkPolicy, found: IssueList): void {
  checkPolicyAnnotations(metadata, found);
  for (const direction of ["ingress", "egress"] as const) {
    const rules = spec[direction] as readonly Rule[] | undefined;
    const side = direction === "ingress" ? "from" : "to";
    for (const [rule, at] of recordItems(rules, `/spec/${direction}`))
      for (const [{ ipBlock }, place] of recordItems(rule[side], `${at}/${side}`))
        checkIpBlock(ipBlock, `${place}/ipBlock`, found);
    if (rules === undefined || !Array.isArray(rules) || !found.isSound(`/spec/${direction}`)) continue;
    checkDirection(rules, direction, found);
    if (spec.selector?.nodeSelector !== undefined) warnOfLockOut(rules, direction, found);
  }
  if (!found.isSound("/spec/policyType")) return;
  if (spec.policyType === "filtering" && isEmpty(spec.ingress) && isEmpty(spec.egress))
    found.warning("/spec", "no-effect", "has neither ingress nor egress rules, so it decides nothing");
  if (spec.policyType !== "filtering") warnOfType(spec.policyType, found);
}

function isEmpty(rules: readonly unknown[] | undefined): boolean {
  return rules === undefined || rules.length === 0;
}

function warnOfType(type: NetworkPolicySpec["policyType"], found: IssueList): void {
  const instead: Readonly<Record<string, string>> = { nat: "; use EBPFNATPolicy", qos: "; use EBPFTrafficControl" };
  found.warning(
    "/spec/policyType",
    "no-effect",
    `${type} will never be served by this kind, and filters nothing${instead[type] ?? ""}`,
  );
}

function checkDirection(rules: readonly Rule[], direction: "ingress" | "egress", found: IssueList): void {
  const side = direction === "ingress" ? "from" : "to";
  const path = `/spec/${direction}`;
  warnOfUnreached(rules, path, found, (rule: Rule) => rule[side] === undefined && rule.ports === undefined);
  if (rules.length > 0 && !rules.some(({ action, rateLimit }) => action === "deny" || rateLimit !== undefined))
    found.warning(path, "allows-all", "denies nothing: what no rule matches passes; end with a rule of action deny");
  else if (rules.length > 0 && !rules.some(({ action }) => action === "deny"))
    found.warning(path, "allows-all", "only limits: what no rule matches passes; end with a rule of action deny");
  for (const [index, rule] of rules.entries()) {
    const at = `${path}/${index}`;
    for (const field of ["to", "from"] as const)
      if (field === side && rule[field]?.length === 0)
        found.warning(
          `${at}/${field}`,
          "matches-none",
          "is an empty list, which nobody is on: the rule matches nothing; leave it out for everybody",
        );
    if (rule.action === "log" && rule[side] === undefined && rule.ports === undefined) warnOfLogging(at, found);
    if (rule.action === "deny" && rule.rateLimit !== undefined)
      found.warning(`${at}/rateLimit`, "no-effect", "has no effect for action deny");
    if (rule.action !== "mark" && rule.mark !== undefined)
      found.warning(`${at}/mark`, "no-effect", `has no effect for action ${rule.action}`);
  }
}

/** Of rules about nodes: the one that denies whatever those before it leave. */
function warnOfLockOut(rules: readonly Rule[], direction: "ingress" | "egress", found: IssueList): void {
  const side = direction === "ingress" ? "from" : "to";
  const last = rules.findIndex((rule) => rule[side] === undefined && isEmpty(rule.ports));
  if (rules[last]?.action !== "deny") return;
  const deciding = rules.slice(0, last).filter((rule) => rule[side] === undefined || rule.action !== "deny");
  const isOpen = (port: number): boolean => {
    const first = deciding.find((rule) => rule[side]?.length !== 0 && covers(rule, port));
    return first !== undefined && first.action !== "deny";
  };
  found.warning(`/spec/${direction}/${last}`, "lock-out", lockOutText(direction, isOpen));
}

function covers({ ports = [] }: Rule, asked: number): boolean {
  const isWithin = ({ protocol, port = 0, endPort = port }: NonNullable<Rule["ports"]>[number]): boolean =>
    protocol === "TCP" && (port === 0 || (port <= asked && asked <= endPort));
  return ports.length === 0 || ports.some(isWithin);
}
