import type {
  Bandwidth,
  PolicyDirection,
  PolicyIntent,
  PolicyRule,
  PolicyStatement,
  PolicySubject,
} from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed } from "../../kind.ts";
import { notServed } from "../../not-served.ts";
import { policyModes, readContext, type ReadContext } from "../../policy/read-context.ts";
import { unknownProblems } from "../../policy/unknown-problems.ts";
import { inNamespace, labelsOf, toRequirements } from "../../policy/requirements.ts";
import { readIpBlock, readPorts } from "../parts/rule-peers.ts";
import type { ContainerRule, EBPFContainerPolicy } from "./schema.ts";

const sides = [
  { direction: "ingress", is: "enableIngressControl", rules: "ingressRules", default: "defaultIngressAction" },
  { direction: "egress", is: "enableEgressControl", rules: "egressRules", default: "defaultEgressAction" },
] as const;
type Side = (typeof sides)[number];

const path = "/spec/networkControls";
const nothing: PolicyDirection = { isDefaultDeny: false, allow: [], deny: [] };

/** A policy of the tier of containers; each rule is a statement of its own, since the first that is met decides. */
export function lowerContainerPolicy(parsed: Parsed<EBPFContainerPolicy>): Lowered {
  const context = readContext(parsed);
  const counts = parsed.object.spec.resourceLimits?.enableAccounting === true;
  const controls = sides.flatMap((side) => statementsOf(parsed, side, context));
  const limits = limitsOf(parsed.object.spec.resourceLimits);
  const isSilent = controls.length === 0 && (counts || Object.values(limits).some((limit) => limit !== undefined));
  const statements = isSilent ? [silentOf(parsed, context)] : controls;
  const intent: PolicyIntent = {
    feature: "policy",
    about: "policy",
    origin: context.originOf(""),
    tier: "container",
    priority: parsed.object.spec.priority,
    counts,
    ...limits,
    policy: { ref: parsed.ref, ...policyModes(parsed), statements },
  };
  return { intents: statements.length === 0 ? [] : [intent], problems: unservedOf(parsed) };
}

function limitsOf(
  limits: EBPFContainerPolicy["spec"]["resourceLimits"],
): Pick<PolicyIntent, "connectionRate" | "mostConnections" | "bandwidth"> {
  const { maxConnectionRate, maxConnections } = limits?.connectionLimits ?? {};
  const { ingressBitsPerSecond, egressBitsPerSecond, burstBytes } = limits?.bandwidthLimits ?? {};
  const bandwidth = (bitsPerSecond: number | undefined): Bandwidth | undefined =>
    bitsPerSecond === undefined ? undefined : { bitsPerSecond, burstBytes };
  const [ingress, egress] = [bandwidth(ingressBitsPerSecond), bandwidth(egressBitsPerSecond)];
  return {
    connectionRate: maxConnectionRate,
    mostConnections: maxConnections,
    bandwidth: ingress === undefined && egress === undefined ? undefined : { ingress, egress },
  };
}

function statementsOf(parsed: Parsed<EBPFContainerPolicy>, side: Side, context: ReadContext): PolicyStatement[] {
  const { networkControls: controls } = parsed.object.spec;
  if (controls?.[side.is] !== true) return [];
  const subject = subjectOf(parsed, context);
  const statement = (at: string, own: PolicyDirection): PolicyStatement => ({
    origin: context.originOf(at),
    subject,
    ingress: nothing,
    egress: nothing,
    options: {},
    [side.direction]: own,
  });
  const rules = (controls[side.rules] ?? []).map((rule, index) => {
    const at = `${path}/${side.rules}/${index}`;
    const list = rule.action === "deny" ? "deny" : "allow";
    return statement(at, { ...nothing, [list]: [readRule(rule, at, context)] });
  });
  const otherwise = statement(`${path}/${side.default}`, { ...nothing, isDefaultDeny: true });
  return controls[side.default] === "deny" ? [...rules, otherwise] : rules;
}

/** Whose pods are only counted or limited. */
function silentOf(parsed: Parsed<EBPFContainerPolicy>, context: ReadContext): PolicyStatement {
  const origin = context.originOf("/spec/resourceLimits");
  return { origin, subject: subjectOf(parsed, context), ingress: nothing, egress: nothing, options: {} };
}

/** Pods of the policy's own namespace, if that has the labels. */
function subjectOf({ ref, object }: Parsed<EBPFContainerPolicy>, context: ReadContext): PolicySubject {
  const { podSelector = {}, namespaceSelector = {} } = object.spec.selector;
  const where = [
    inNamespace(ref.namespace),
    ...toRequirements(podSelector, labelsOf("pod")),
    ...toRequirements(namespaceSelector, labelsOf("namespace-label")),
  ];
  return { selects: "pods", where, origin: context.originOf("/spec/selector") };
}

function readRule(
  { description, ipBlock, ports = [], action }: ContainerRule,
  at: string,
  context: ReadContext,
): PolicyRule {
  const unserved = context.unknownIn(at);
  const peers = ipBlock === undefined ? "any" : readIpBlock(ipBlock, context.originOf(`${at}/ipBlock`));
  return {
    origin: context.originOf(at),
    description,
    peers: unserved.length === 0 ? peers : action === "deny" ? "any" : [],
    ports:
      ports.length === 0 || unserved.length > 0
        ? "any"
        : ports.map((port, index) => readPorts(port, context.originOf(`${at}/ports/${index}`))),
    bandwidth: undefined,
    ...(action === "log" && { log: {} }),
    unserved,
  };
}

function unservedOf(parsed: Parsed<EBPFContainerPolicy>): readonly PlanProblem[] {
  const { networkControls: controls, deviceControl } = parsed.object.spec;
  const problems: PlanProblem[] = [];
  const tell = (at: string, so: string): void => {
    problems.push(notServed(parsed, at, so));
  };
  if (deviceControl?.enableDeviceControl === true) tell("/spec/deviceControl", "every device may be used");
  for (const side of sides) {
    if (controls?.[side.is] !== true) continue;
    for (const [index, { action }] of (controls[side.rules] ?? []).entries()) {
      const at = `${path}/${side.rules}/${index}`;
      problems.push(...unknownProblems(parsed, readContext(parsed), at, action === "deny"));
    }
  }
  return problems;
}
