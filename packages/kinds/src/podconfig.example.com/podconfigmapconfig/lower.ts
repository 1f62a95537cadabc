import type { PolicyIntent, PolicyRule } from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed } from "../../kind.ts";
import { notServed } from "../../not-served.ts";
import { policyModes, readContext, type ReadContext } from "../../policy/read-context.ts";
import { inNamespace, labelsOf, toRequirements } from "../../policy/requirements.ts";
import type { PodConfigMapConfig, PodConfigSpec } from "./schema.ts";

type Firewall = NonNullable<NonNullable<PodConfigSpec["ebpfConfig"]>["l4Firewall"]>;

const path = "/spec/ebpfConfig/l4Firewall";

/** What a PodConfigMapConfig asks for; each part that nothing serves yet is named. */
export function lowerPodConfig(parsed: Parsed<PodConfigMapConfig>): Lowered {
  const { ebpfConfig, labelsToInclude = [], annotationsToInclude = [] } = parsed.object.spec;
  const problems: PlanProblem[] = [];
  const tell = (at: string, so: string): void => {
    problems.push(notServed(parsed, at, so));
  };
  if (ebpfConfig?.syscallMonitoring?.enabled === true)
    tell("/spec/ebpfConfig/syscallMonitoring", "no system call is counted");
  if (labelsToInclude.length > 0) tell("/spec/labelsToInclude", "no ConfigMap is made of pods");
  if (annotationsToInclude.length > 0) tell("/spec/annotationsToInclude", "no ConfigMap is made of pods");
  const firewall = ebpfConfig?.l4Firewall;
  return { intents: firewall?.enabled === true ? [firewallOf(parsed, firewall)] : [], problems };
}

/** A policy of the tier of ports: what any of those that select a pod blocks is blocked, else what any allows passes. */
function firewallOf(parsed: Parsed<PodConfigMapConfig>, firewall: Firewall): PolicyIntent {
  const context = readContext(parsed);
  const { allowedPorts = [], blockedPorts = [], defaultAction } = firewall;
  const where = [
    inNamespace(parsed.ref.namespace),
    ...toRequirements(parsed.object.spec.podSelector ?? {}, labelsOf("pod")),
  ];
  const ingress = {
    isDefaultDeny: defaultAction === "block",
    deny: blockedPorts.map((port, index) => ruleOf(port, `${path}/blockedPorts/${index}`, context)),
    allow: allowedPorts.map((port, index) => ruleOf(port, `${path}/allowedPorts/${index}`, context)),
  };
  return {
    feature: "policy",
    about: "policy",
    origin: context.originOf(""),
    tier: "l4",
    counts: parsed.object.spec.ebpfConfig?.metricsExport?.enabled === true,
    policy: {
      ref: parsed.ref,
      ...policyModes(parsed),
      statements: [
        {
          origin: context.originOf(path),
          subject: { selects: "pods", where, origin: context.originOf("/spec/podSelector") },
          ingress,
          egress: { isDefaultDeny: false, allow: [], deny: [] },
          options: {},
        },
      ],
    },
  };
}

/** One port, of both protocols. */
function ruleOf(port: number, at: string, context: ReadContext): PolicyRule {
  const origin = context.originOf(at);
  const ports = (["TCP", "UDP"] as const).map(
    (protocol) => ({ origin, match: "ports", protocol, from: port, to: port, dns: undefined }) as const,
  );
  return { origin, description: undefined, peers: "any", ports, bandwidth: undefined, unserved: [] };
}
