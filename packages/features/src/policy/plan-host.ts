import type { ObjectRef } from "@bpfleet/base";
import {
  renderHookKey,
  type FeatureInstance,
  type NodeFacts,
  type PlanProblem,
  type ProgramSpec,
} from "@bpfleet/kernel";
import { instanceIdOf } from "../events.ts";
import type { Attachment } from "../feature.ts";
import { hostInterfaces, type HostInterfaces } from "./compile/node-endpoint.ts";
import type { WrittenPolicy } from "./compile/compile-safely.ts";
import { policyPrograms } from "./generated/policy.ts";
import type { PolicyEndpoint } from "./instances.ts";
import type { PolicyStatement } from "./policy.ts";

/** Tells what is judged of the node itself from what is judged of its pods, in events and explanations. */
export const hostInstanceKey = "policy/host";

/** `raw`: of interfaces without a header of a link. */
type Kind = "framed" | "raw";

const programKey = (direction: "ingress" | "egress", kind: Kind): string =>
  `policy/host-${direction}${kind === "raw" ? "-raw" : ""}`;

/** What judges the node itself; nothing where no policy selects it. */
export interface HostPlan {
  readonly programs: readonly ProgramSpec[];
  readonly attachments: readonly Attachment[];
  readonly problems: readonly PlanProblem[];
  /** Keys of its hooks. */
  readonly hooks: readonly string[];
}

export const noHost: HostPlan = { programs: [], attachments: [], problems: [], hooks: [] };

/** `like`: a program of pods, beside which these are loaded. */
export function planHost(
  { pods, selection }: WrittenPolicy,
  facts: NodeFacts,
  like: ProgramSpec,
  member: Omit<Attachment["member"], "program">,
): HostPlan {
  const node = pods.find(({ isNode }) => isNode === true);
  if (node === undefined) return noHost;
  const interfaces = hostInterfaces(facts);
  const kinds = (["framed", "raw"] as const).filter((kind) => interfaces[kind].length > 0);
  const attachments = kinds.flatMap((kind) => attach(kind, interfaces, member));
  const objects = node.statements.flatMap((number) => selection.statements[number]?.intent ?? []);
  return {
    programs: kinds.flatMap((kind) => programsOf(kind, like)),
    attachments,
    problems: [...new Set(objects)].flatMap(({ origin, policy }) => [
      ...foreignProblems(origin, interfaces),
      ...(policy.statements.some(isAboutIngress) ? [noteOfServices(origin)] : []),
    ]),
    hooks: attachments.map(({ point }) => renderHookKey(point)),
  };
}

function programsOf(kind: Kind, like: ProgramSpec): readonly ProgramSpec[] {
  return (["ingress", "egress"] as const).map((direction): ProgramSpec => {
    const entry = `host_${direction}` as const;
    return {
      ...like,
      key: programKey(direction, kind),
      name: entry,
      type: policyPrograms[entry],
      entry,
      globals: {
        ...like.globals,
        instance_id: instanceIdOf(hostInstanceKey),
        keeps_accounts: false,
        limits_bandwidth: false,
        counts_connections: false,
        translates_services: false,
        heeds_names: false,
        has_no_link_layer: kind === "raw",
      },
    };
  });
}

function attach(
  kind: Kind,
  interfaces: HostInterfaces,
  member: Omit<Attachment["member"], "program">,
): readonly Attachment[] {
  return interfaces[kind].flatMap((name) =>
    (["ingress", "egress"] as const).map((direction): Attachment => ({
      point: { hook: "tc", interface: name, direction },
      member: { ...member, program: programKey(direction, kind) },
    })),
  );
}

function isAboutIngress({ subject, ingress }: PolicyStatement): boolean {
  return subject.selects === "nodes" && (ingress.isDefaultDeny || ingress.deny.length > 0);
}

function noteOfServices(origin: PlanProblem["origin"]): PlanProblem {
  const message =
    "what a pod sends to a Service whose back end is this node itself is judged only if a policy is about what the pod sends";
  return { origin, reason: "ServicesOfNode", message, severity: "note" };
}

function foreignProblems(origin: PlanProblem["origin"], { foreign }: HostInterfaces): readonly PlanProblem[] {
  if (foreign.length === 0) return [];
  const message = `not in force on ${foreign.join(", ")} of this node: headers of such a link are not read`;
  return [{ origin, reason: "NotServed", message, severity: "refused" }];
}

export function hostInstance(
  endpoint: PolicyEndpoint,
  common: Pick<FeatureInstance, "feature" | "maps" | "rules">,
  owner: ObjectRef,
  plan: HostPlan,
  isolating: { readonly isolating: readonly unknown[] },
): FeatureInstance {
  return {
    ...common,
    owner,
    key: hostInstanceKey,
    programs: plan.programs.map(({ key }) => key),
    hooks: plan.hooks,
    data: { about: "host", endpoints: [endpoint], ...isolating },
  };
}
