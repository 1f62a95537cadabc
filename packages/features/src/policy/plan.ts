import { fingerprint, refKey } from "@bpfleet/base";
import type { NodeFacts, ProgramSpec, RuleRef } from "@bpfleet/kernel";
import { instanceIdOf } from "../events.ts";
import { startDraft, type Attachment, type Draft, type FeaturePlan } from "../feature.ts";
import { explainedMap } from "../generated/shared.ts";
import type { PolicyInput } from "./compile/compile-policy.ts";
import { closeEverything } from "./compile/close-everything.ts";
import { compileSafely, type WrittenPolicy } from "./compile/compile-safely.ts";
import { CompileMemory } from "./compile/compile-memory.ts";
import { mistakeText, policyLimits } from "./compile/limits.ts";
import { nodeRef } from "./compile/node-endpoint.ts";
import { doesLess } from "./does-less.ts";
import { endpointMark, endpointNumber, policyPrograms } from "./generated/policy.ts";
import { feature, instancesOf, nodeInstanceKey } from "./instances.ts";
import type { BackendsIntent, PolicyFeatureIntent, PolicyIntent } from "./intent.ts";
import { limitsOf } from "./limit-maps.ts";
import { noHost, planHost } from "./plan-host.ts";
import { chooseSlot, planPolicyMaps } from "./policy-maps.ts";
import { areOfNodes, forEachPolicy, otherNodesNotes, problemsOf, shadowNote, shadowProblem } from "./problems.ts";
import { resolveServices } from "./services/resolve-services.ts";
import type { WrittenServices } from "./services/service-maps.ts";
import { writeServices } from "./services/write-services.ts";

const TCX_NEXT = -1;
/** bpf/include/policy-opening.h */
const usualGraceSeconds = 60;
/** Before programs that people bring, which have 0 and more: one that ends the chain with TC_ACT_OK would open the pod. */
const priority = -1;

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

/** The map that a dry run writes; it is made with the twin and goes with it. */
export const scratch = { name: "explained", definition: explainedMap };
