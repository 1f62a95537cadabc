import { fingerprint, refKey, type ObjectRef, type Origin } from "@bpfleet/base";
import { renderHookKey, type FeatureInstance, type NodeFacts, type ProgramSpec, type RuleRef } from "@bpfleet/kernel";
import { instanceIdOf } from "../events.ts";
import { startDraft, type Attachment, type Draft, type FeaturePlan } from "../feature.ts";
import { explainedMap } from "../generated/shared.ts";
import type { PolicyInput } from "./compile/compile-policy.ts";
import { closeEverything } from "./compile/close-everything.ts";
import { compileSafely, type WrittenPolicy } from "./compile/compile-safely.ts";
import { isolationOf } from "./compile/isolation.ts";
import { CompileMemory } from "./compile/compile-memory.ts";
import { mistakeText, policyLimits } from "./compile/limits.ts";
import { nodeRef } from "./compile/node-endpoint.ts";
import { doesLess } from "./does-less.ts";
import { endpointMark, endpointNumber, policyPrograms } from "./generated/policy.ts";
import type { BackendsIntent, PolicyFeatureIntent, PolicyIntent } from "./intent.ts";
import { limitedOf, limitsOf, logsFlows } from "./limit-maps.ts";
import { hostInstance, noHost, planHost, type HostPlan } from "./plan-host.ts";
import { chooseSlot, planPolicyMaps, type PlannedMaps } from "./policy-maps.ts";
import { areOfNodes, forEachPolicy, otherNodesNotes, problemsOf, shadowNote, shadowProblem } from "./problems.ts";
import { resolveServices } from "./services/resolve-services.ts";
import type { WrittenServices } from "./services/service-maps.ts";
import { writeServices } from "./services/write-services.ts";

export const feature = "policy";
export const nodeInstanceKey = "policy/node";

const TCX_NEXT = -1;
/** bpf/include/policy-opening.h */
const usualGraceSeconds = 60;
/** Before programs that people bring, which have 0 and more: one that ends the chain with TC_ACT_OK would open the pod. */
const priority = -1;

/** What `counters` and `explain` need of an instance beside its rules. */
export interface PolicyData {
  /**
   * The instance of the node tells of everything, those of objects of their own rules, those of pods of what each of
   * them received and sent: `endpoints` is just that one. `host`: what is judged of the node itself.
   */
  readonly about: "node" | "policy" | "pod" | "host";
  /** Pods that are judged, of this node or by this object, and the node itself. */
  readonly endpoints: readonly PolicyEndpoint[];
  readonly tier?: PolicyIntent["tier"] | undefined;
  readonly tableLines?: number | undefined;
  readonly addresses?: number | undefined;
  /** Of the node: what isolates pods, by which `isolatedBy` of endpoints means them. */
  readonly isolating?: readonly Origin[] | undefined;
  /** Of the node: what would isolate pods and is only tried out, by which `triedBy` of endpoints means it. */
  readonly trying?: readonly Origin[] | undefined;
  /** It is only tried out. */
  readonly mode?: "shadow" | undefined;
  /** Of the node: some rule logs. */
  readonly logs?: true | undefined;
  /** Of the node: what lines of the log carry, by the indexes of rules. */
  readonly logValues?: Readonly<Record<number, string>> | undefined;
  /** Of the node: interfaces of pods that may have so many connections open. */
  readonly limited?: readonly number[] | undefined;
  /** Of a pod: how many connections it may have open. */
  readonly mostConnections?: number | undefined;
  /** Of a pod: what it receives and sends is counted. */
  readonly isCounted?: boolean | undefined;
  /** Of the node: the serial of its table, in decimal digits. */
  readonly serial?: string | undefined;
}

export interface PolicyEndpoint {
  /** The node itself: `pod` is its name, and there is neither a namespace nor one interface. */
  readonly isNode?: true | undefined;
  readonly namespace: string;
  readonly pod: string;
  readonly interface: string;
  readonly ifindex: number;
  /** Indexes in `isolating`. */
  readonly isolatedBy?: Readonly<Record<"ingress" | "egress", readonly number[]>> | undefined;
  /** Indexes in `trying`. */
  readonly triedBy?: Readonly<Record<"ingress" | "egress", readonly number[]>> | undefined;
  /** Some rule, or what is there without one, is asked in some direction: then its flows are on record. */
  readonly isRestricted?: true | undefined;
}

export function planPolicy(
  intents: readonly PolicyFeatureIntent[],
  facts: NodeFacts,
  memory = new CompileMemory(),
): FeaturePlan {
  const { input, shadows } = sortIntents(intents, facts.policySettings);
  const draft = startDraft();
  if (input.policies.length + shadows.length === 0) return draft;
  const digest = facts.objects[feature]?.digest;
  if (digest === undefined) {
    const message = `load the policy programs: the object ${feature} is not among those of this node; reinstall bpfleet`;
    draft.problems.push(...forEachPolicy([...input.policies, ...shadows], "NotFound", message));
    goOn(facts, draft);
    return draft;
  }
  const object = { name: feature, digest };
  try {
    const compiled = compileWithTrials(input, shadows, facts, draft, memory);
    draft.problems.push(...problemsOf(compiled));
    draft.problems.push(...otherNodesNotes(compiled, [...input.policies, ...shadows], facts, draft.problems));
    if (compiled.pods.length > 0)
      planCompiled(compiled, object, facts, draft, servicesFor(compiled, input, facts, memory));
  } catch (error) {
    planFailure(input, object, facts, draft, error);
  }
  return draft;
}

/** What is only tried out never takes anything from what is in force: where both are too much, it is left out. */
function compileWithTrials(
  input: PolicyInput,
  shadows: readonly PolicyIntent[],
  facts: NodeFacts,
  draft: Draft,
  memory: CompileMemory,
): WrittenPolicy {
  const slotOf = (rules: readonly RuleRef[]): number => chooseSlot(rules, facts.seenMaps);
  const compile = (policies: readonly PolicyIntent[]): WrittenPolicy =>
    compileSafely({ ...input, policies }, facts, slotOf, policyLimits, memory);
  if (shadows.length === 0) return compile(input.policies);
  const tried = new Set(shadows.map(({ policy }) => refKey(policy.ref)));
  let why = "the policies that are in force leave no room for it";
  try {
    const compiled = compile([...input.policies, ...shadows]);
    if (compiled.closed.every(({ ref }) => tried.has(refKey(ref)))) {
      draft.problems.push(...shadows.map(shadowNote));
      return compiled;
    }
  } catch (error) {
    why = mistakeText("compile what is tried out", error);
  }
  draft.problems.push(...shadows.map((intent) => shadowProblem(intent, why)));
  return compile(input.policies);
}

function sortIntents(
  intents: readonly PolicyFeatureIntent[],
  settings: NodeFacts["policySettings"],
): {
  input: PolicyInput;
  shadows: readonly PolicyIntent[];
} {
  const policies: PolicyIntent[] = [];
  const shadows: PolicyIntent[] = [];
  const backends: BackendsIntent[] = [];
  const input = {
    policies,
    workloads: [],
    addresses: [],
    hosts: [],
    services: [],
    backends,
    settings: settings ?? {},
  } as {
    -readonly [Part in keyof PolicyInput]: PolicyInput[Part] extends readonly (infer Each)[]
      ? Each[]
      : PolicyInput[Part];
  };
  for (const intent of intents) {
    switch (intent.about) {
      case "policy":
        (intent.policy.mode === "shadow" ? shadows : policies).push(intent);
        break;
      case "workload":
        input.workloads.push(intent);
        break;
      case "addresses":
        input.addresses.push(intent);
        break;
      case "host":
        input.hosts.push(intent);
        break;
      case "service":
        input.services.push(intent);
        break;
      case "backends":
        backends.push(intent);
        break;
    }
  }
  return { input, shadows };
}

/** What is in force stays as it is; what is not known to be is closed, since it may be what some policy isolates. */
function planFailure(
  input: PolicyInput,
  object: ProgramSpec["object"],
  facts: NodeFacts,
  draft: Draft,
  error: unknown,
): void {
  const failure = mistakeText("compile the policies of this node", error);
  const goesOn = goOn(facts, draft);
  const isOfNodes = areOfNodes(input.policies);
  const effect = goesOn
    ? "what was in force before stays"
    : isOfNodes
      ? "nothing is held back of this node"
      : "nothing passes the pods of this node";
  draft.problems.push(...forEachPolicy(input.policies, "Failed", `${failure}; until then ${effect}`));
  if (goesOn || isOfNodes) return;
  const closed = closeEverything(input, facts, (rules) => chooseSlot(rules, facts.seenMaps));
  planCompiled(closed, object, facts, draft);
}

/** With what was planned last, where that is known. */
function goOn(facts: NodeFacts, draft: Draft): boolean {
  const earlier = facts.earlierPlans?.[refKey(nodeRef(facts))];
  if (earlier === undefined) {
    draft.wantsEarlier = true;
    return false;
  }
  draft.maps.push(...earlier.maps);
  draft.programs.push(...earlier.programs);
  draft.attachments.push(...earlier.attachments);
  draft.instances.push(...earlier.instances);
  return true;
}

function planCompiled(
  compiled: WrittenPolicy,
  object: ProgramSpec["object"],
  facts: NodeFacts,
  draft: Draft,
  services?: WrittenServices,
): void {
  const owner = nodeRef(facts);
  const { table, written, rules } = compiled;
  const { statements } = compiled.selection;
  const keepsAccounts = statements.some(({ intent }) => intent.counts === true && intent.policy.mode === "enforce");
  const heedsNames = table.names !== undefined;
  const effects = table.tables.flatMap((each) => each.rules.flatMap(({ effect }) => effect ?? []));
  const limits = limitsOf(compiled);
  const trialDigest = digestOfTrials(compiled);
  const globals = {
    instance_id: instanceIdOf(nodeInstanceKey),
    keeps_accounts: keepsAccounts,
    translates_services: services !== undefined,
    heeds_names: heedsNames,
    has_effects: effects.length > 0,
    marks_packets: effects.some(({ mark }) => mark !== undefined),
    limits_bandwidth: limits.bandwidths.length > 0,
    counts_connections: limits.countsConnections,
    logs_flows: limits.logsFlows,
    tries_policies: trialDigest !== undefined,
    grace_seconds: facts.policySettings?.graceSeconds ?? usualGraceSeconds,
    name_seconds_at_least: facts.policySettings?.nameSeconds ?? 0,
  };
  const planned = planPolicyMaps(
    written,
    table.serial,
    table.counterSlot,
    rules,
    owner,
    keepsAccounts,
    heedsNames,
    limits,
    services,
    trialDigest,
    doesLess(globals, facts.earlierPlans?.[refKey(owner)]),
  );
  const programs = (["policy_ingress", "policy_egress"] as const).map((entry): ProgramSpec => ({
    key: `policy/${entry === "policy_ingress" ? "ingress" : "egress"}`,
    name: entry,
    type: policyPrograms[entry],
    object,
    entry,
    globals,
    maps: planned.names,
    owner,
  }));
  const [like] = programs;
  const host = like && planHost(compiled, facts, like, { priority, proceedOn: [TCX_NEXT] });
  const ofPods = compiled.pods.every(({ isNode }) => isNode === true) ? [] : programs;
  draft.maps.push(...planned.maps);
  draft.programs.push(...ofPods, ...(host?.programs ?? []));
  draft.attachments.push(...attachmentsOf(compiled), ...(host?.attachments ?? []));
  draft.instances.push(...instancesOf(compiled, planned, ofPods, owner, host ?? noHost));
  draft.problems.push(...(host?.problems ?? []));
}

/** Those of whom what pods send is restricted; they are translated for nobody else. */
function servicesFor(
  { table }: WrittenPolicy,
  input: PolicyInput,
  facts: NodeFacts,
  memory: CompileMemory,
): WrittenServices | undefined {
  const isPod = (ifindex: number): boolean => ifindex < endpointMark.tried && ifindex !== endpointNumber.host;
  if (table.endpoints.every(({ ifindex, egress }) => !isPod(ifindex) || egress.length === 0)) return undefined;
  const { services, backends = [], hosts } = input;
  const ofNode = [facts.nodeName, ...facts.interfaces.map(({ addresses }) => addresses.join())];
  return memory.services.to([services, backends, hosts, ofNode], () => {
    const resolved = resolveServices(input, facts, memory.servicePorts);
    return resolved.ports.length === 0 ? undefined : { ...writeServices(resolved), serial: resolved.serial };
  });
}

/** Of the rules that are tried out, wherever pods and addresses are. */
function digestOfTrials({ selection, rulesOf }: WrittenPolicy): string | undefined {
  const tried = selection.statements.filter(({ intent }) => intent.policy.mode === "shadow");
  if (tried.length === 0) return undefined;
  const keys = [...new Set(tried.map(({ intent }) => refKey(intent.policy.ref)))];
  return fingerprint(keys.map((key) => `${key} ${(rulesOf.get(key) ?? []).map(({ id }) => id).join()}`).join("\n"));
}

/** What the pod sends comes in by its interface, what it receives goes out by it. */
function attachmentsOf({ pods }: WrittenPolicy): readonly Attachment[] {
  const interfaces = new Set(
    pods.flatMap(({ facts, isNode }) => (facts?.found && isNode !== true ? [facts.interface] : [])),
  );
  return [...interfaces].flatMap((name) =>
    (["ingress", "egress"] as const).map((direction): Attachment => ({
      point: { hook: "tc", interface: name, direction },
      member: {
        program: direction === "ingress" ? "policy/egress" : "policy/ingress",
        priority,
        proceedOn: [TCX_NEXT],
      },
    })),
  );
}

function instancesOf(
  compiled: WrittenPolicy,
  { roles }: PlannedMaps,
  programs: readonly ProgramSpec[],
  owner: ObjectRef,
  host: HostPlan,
): readonly FeatureInstance[] {
  const { pods, rules, rulesOf, selection, table, written } = compiled;
  const isolation = isolationOf(compiled);
  const trials = isolationOf(compiled, "shadow");
  const common = { feature, programs: programs.map(({ key }) => key), maps: roles };
  const byPolicy = new Map<string, { readonly intent: PolicyIntent; readonly endpoints: PolicyEndpoint[] }>();
  for (const { intent } of selection.statements) byPolicy.set(refKey(intent.policy.ref), { intent, endpoints: [] });
  const all: PolicyEndpoint[] = [];
  const restricted = new Set(
    table.endpoints.flatMap(({ ifindex, ingress, egress }) => (ingress.length + egress.length > 0 ? [ifindex] : [])),
  );
  for (const { workload, facts, statements, isNode } of pods) {
    if (!facts?.found) continue;
    const { namespace, name } = workload.pod;
    const endpoint = { isNode, namespace, pod: name, interface: facts.interface, ifindex: facts.ifindex };
    all.push({
      ...endpoint,
      isolatedBy: isolation.of.get(facts.ifindex),
      triedBy: trials.of.get(facts.ifindex),
      ...(restricted.has(facts.ifindex) && { isRestricted: true }),
    });
    const selecting = new Set(
      statements.flatMap((number) => {
        const ref = selection.statements[number]?.intent.policy.ref;
        return ref === undefined ? [] : [refKey(ref)];
      }),
    );
    for (const key of selecting) byPolicy.get(key)?.endpoints.push(endpoint);
  }
  const limited = limitedOf(compiled);
  const node: PolicyData = {
    about: "node",
    endpoints: all,
    tableLines: written.lineCount,
    addresses: table.addresses.length,
    isolating: isolation.statements,
    ...(trials.statements.length > 0 && { trying: trials.statements }),
    ...(limited.length > 0 && { limited }),
    ...(logsFlows(compiled) && { logs: true }),
    ...(compiled.logValues.size > 0 && { logValues: Object.fromEntries(compiled.logValues) }),
    serial: String(table.serial),
  };
  return [
    { ...common, owner, key: nodeInstanceKey, rules, data: node },
    ...all
      .filter(isOfNode)
      .map((endpoint) =>
        hostInstance(endpoint, { feature, maps: roles, rules }, owner, host, { isolating: isolation.statements }),
      ),
    ...[...byPolicy].map(([key, { intent, endpoints }]): FeatureInstance => ({
      ...common,
      programs: [...common.programs, ...(endpoints.some(isOfNode) ? host.programs.map((each) => each.key) : [])],
      owner: intent.policy.ref,
      key: `policy/objects/${key}`,
      rules: rulesOf.get(key) ?? [],
      hooks: [...hooksOf(endpoints), ...(endpoints.some(isOfNode) ? host.hooks : [])],
      data: {
        about: "policy",
        endpoints,
        ...(intent.policy.mode === "shadow" && { mode: "shadow" }),
      } satisfies PolicyData,
    })),
    ...[...byPolicy].flatMap(([key, { intent, endpoints }]) =>
      (intent.counts !== true && intent.mostConnections === undefined) || intent.policy.mode === "shadow"
        ? []
        : endpoints.map((endpoint): FeatureInstance => ({
            ...common,
            owner: intent.policy.ref,
            key: `policy/objects/${key}/pods/${endpoint.namespace}/${endpoint.pod}`,
            maps: pick(roles, [
              ...(intent.counts === true ? ["accounts"] : []),
              ...(intent.mostConnections === undefined ? [] : ["connection_counts", "connections_aged"]),
            ]),
            rules: [],
            hooks: hooksOf([endpoint]),
            data: {
              about: "pod",
              endpoints: [endpoint],
              tier: intent.tier,
              mostConnections: intent.mostConnections,
              isCounted: intent.counts,
            } satisfies PolicyData,
          })),
    ),
  ];
}

function pick(roles: Readonly<Record<string, string>>, names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(names.map((name) => [name, roles[name] ?? ""]));
}

function isOfNode({ isNode }: PolicyEndpoint): boolean {
  return isNode === true;
}

function hooksOf(endpoints: readonly PolicyEndpoint[]): readonly string[] {
  const ofPods = endpoints.filter((endpoint) => !isOfNode(endpoint));
  return ofPods.flatMap((endpoint) =>
    (["ingress", "egress"] as const).map((direction) =>
      renderHookKey({ hook: "tc", interface: endpoint.interface, direction }),
    ),
  );
}

/** The map that a dry run writes; it is made with the twin and goes with it. */
export const scratch = { name: "explained", definition: explainedMap };
