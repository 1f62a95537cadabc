import { refKey } from "@bpfleet/base";
import type { NodeFacts, PolicySettings, RuleRef } from "@bpfleet/kernel";
import type {
  AddressesIntent,
  BackendsIntent,
  HostIntent,
  PolicyIntent,
  ServiceIntent,
  WorkloadIntent,
} from "../intent.ts";
import { ServiceAddresses } from "../services/service-addresses.ts";
import type { PolicyTable } from "../table/policy-table.ts";
import type { PolicyRule } from "../policy.ts";
import { classify, type Classes, type NamePeers } from "./classes.ts";
import { CompileMemory } from "./compile-memory.ts";
import { serialOf } from "./digest.ts";
import { AskedKeys } from "./label-index.ts";
import { PolicyLimitError, policyLimits, type ClosedPolicy, type PolicyLimits } from "./limits.ts";
import { Names, tableNames, TooManyNamesError, type CompiledNames } from "./names.ts";
import { portName, Peers } from "./peers.ts";
import { placeEndpoints } from "./place-endpoints.ts";
import { nodeLabels, withoutClosed } from "./node-endpoint.ts";
import { findPopulation, type Population } from "./population.ts";
import { PortSets } from "./port-sets.ts";
import { EgressPorts, readRules, type RuleBook } from "./rule-book.ts";
import { selectPods, type LocalPod, type Selection, type Statement } from "./statements.ts";
import { TableMaker } from "./table-maker.ts";
import { Budget } from "./verdict-table.ts";

export interface PolicyInput {
  /** Those that are to be enforced. */
  readonly policies: readonly PolicyIntent[];
  readonly workloads: readonly WorkloadIntent[];
  readonly addresses: readonly AddressesIntent[];
  readonly hosts: readonly HostIntent[];
  readonly services: readonly ServiceIntent[];
  readonly backends?: readonly BackendsIntent[] | undefined;
  readonly settings: PolicySettings;
}

export type CompileFacts = Pick<NodeFacts, "endpoints" | "interfaces" | "nodeName" | "labels">;

export interface CompiledPolicy {
  readonly table: PolicyTable;
  /** Of all policies that select a pod of this node, by index. */
  readonly rules: readonly RuleRef[];
  /** By `refKey` of the object. */
  readonly rulesOf: ReadonlyMap<string, readonly RuleRef[]>;
  /** What events of rules carry, by the indexes of those. */
  readonly logValues: ReadonlyMap<number, string>;
  /** Pods of this node that a policy selects, found or not, and the node itself. */
  readonly pods: readonly LocalPod[];
  readonly selection: Selection;
  /** Objects that are not served: whom they select is closed in the directions that they isolate. */
  readonly closed: readonly ClosedPolicy[];
}

/** `slotOf` says which slot of the map of counters the rules get. Those in `closed` are not served; it grows. */
export function compilePolicy(
  input: PolicyInput,
  facts: CompileFacts,
  slotOf: (rules: readonly RuleRef[]) => number,
  limits: PolicyLimits = policyLimits,
  closed = new Map<string, ClosedPolicy>(),
  memory = new CompileMemory(),
): CompiledPolicy {
  const labels = nodeLabels(input.hosts, facts);
  const selection = selectPods(input.policies, input.workloads, facts, closed, labels);
  for (;;) {
    try {
      return compileSelected(input, facts, selection, slotOf, limits, closed, memory);
    } catch (error) {
      if (!(error instanceof PolicyLimitError) || closed.has(refKey(error.object))) throw error;
      closed.set(refKey(error.object), { ref: error.object, why: error.message });
    }
  }
}

function compileSelected(
  input: PolicyInput,
  facts: CompileFacts,
  selection: Selection,
  slotOf: (rules: readonly RuleRef[]) => number,
  limits: PolicyLimits,
  closed: Map<string, ClosedPolicy>,
  memory: CompileMemory,
): CompiledPolicy {
  const peers = new Peers();
  const portSets = new PortSets();
  const names = new Names();
  const closedBefore = closed.size;
  const book = readRules(selection.statements, input.settings, facts, peers, portSets, names, closed);
  // An object of several statements is closed whole, the earlier ones too.
  if (closed.size > closedBefore) return compileSelected(input, facts, selection, slotOf, limits, closed, memory);
  const compiled = names.isUsed ? compileNames(names, selection, limits) : undefined;
  const numberOf: NamePeers["numberOf"] = (pattern) => names.numberOf(pattern);
  const { classes, egressPorts } = classifyPeers(input, facts, peers, book, memory, compiled && { compiled, numberOf });
  checkClasses(classes, selection, limits);
  const maker = new TableMaker(selection.statements, book, classes, egressPorts, portSets, new Budget(limits), {
    names,
    peerClasses: compiled?.automaton.peerClasses ?? 0,
  });
  const pods = selection.pods
    .map((pod) => withoutClosed(pod, selection.statements, closed))
    .filter(({ statements }) => statements.length > 0);
  const endpoints = placeEndpoints(pods, maker, selection.statements, facts);
  const table = {
    counterSlot: slotOf(book.refs),
    classCount: classes.count,
    unknownClass: classes.unknown,
    addresses: classes.addresses,
    endpoints,
    tables: maker.tables,
    columnMaps: portSets.maps,
    names: compiled && tableNames(names, compiled, classes.ofWorld),
  };
  return {
    table: { serial: serialOf(table), ...table },
    rules: book.refs,
    rulesOf: book.refsOf,
    logValues: book.logValues,
    pods,
    selection,
    closed: [...closed.values()],
  };
}

function checkClasses({ addresses, count }: Classes, { statements }: Selection, limits: PolicyLimits): void {
  if (addresses.length <= limits.addresses && count <= limits.classes) return;
  const ruleCount = ({ statement: { ingress, egress } }: Statement): number =>
    ingress.allow.length + ingress.deny.length + egress.allow.length + egress.deny.length;
  const [most] = statements.toSorted((a, b) => ruleCount(b) - ruleCount(a));
  if (most === undefined) return;
  const what = `the policies of this node tell more than ${Math.min(limits.addresses, limits.classes)} addresses apart`;
  throw new PolicyLimitError(most.intent.policy.ref, `${what}; this object has most of the rules: divide it`);
}

function compileNames(names: Names, { statements }: Selection, limits: PolicyLimits): CompiledNames {
  try {
    return names.compile(limits.nameStates);
  } catch (error) {
    if (!(error instanceof TooManyNamesError)) throw error;
    const nameCount = ({ statement: { egress } }: Statement): number =>
      egress.allow.reduce((sum, rule) => sum + namesIn(rule), 0);
    const [most] = statements.toSorted((a, b) => nameCount(b) - nameCount(a));
    if (most === undefined) throw error;
    throw new PolicyLimitError(
      most.intent.policy.ref,
      `${error.message}; this object has most of the names: name fewer`,
    );
  }
}

function namesIn({ peers, ports }: PolicyRule): number {
  const asked = ports === "any" ? [] : ports.flatMap((match) => ("dns" in match && match.dns) || []);
  return asked.length + (peers === "any" ? 0 : peers.filter(({ peer }) => peer === "name").length);
}

function classifyPeers(
  input: PolicyInput,
  facts: CompileFacts,
  peers: Peers,
  book: RuleBook,
  memory: CompileMemory,
  names: NamePeers | undefined,
): { readonly classes: Classes; readonly egressPorts: EgressPorts } {
  const asked = new AskedKeys();
  for (const { meaning } of peers.all) if ("where" in meaning) asked.ask(meaning.where);
  const askedPorts = new Set(book.egressPorts.map(({ protocol, name }) => portName(protocol, name)));
  const population = knownPopulation(input, facts, asked, askedPorts, memory);
  const egressPorts = new EgressPorts(population, peers);
  const services = memory.serviceAddresses.to(
    [input.services, input.backends ?? [], asked.text],
    () => new ServiceAddresses(input, asked),
  );
  return { classes: classify(peers.all, population, services, names), egressPorts };
}

/** The same value where everybody is as before: the question holds all that `findPopulation` reads. */
function knownPopulation(
  input: PolicyInput,
  facts: CompileFacts,
  asked: AskedKeys,
  askedPorts: ReadonlySet<string>,
  { population }: CompileMemory,
): Population {
  const { workloads, addresses, hosts } = input;
  const { nodeName, interfaces, endpoints } = facts;
  const places = workloads.map(({ endpoint }) => {
    const found = endpoint === undefined ? undefined : endpoints?.[endpoint];
    return found?.found === true ? found.addresses.join() : "";
  });
  const ofNode = [nodeName, ...interfaces.map((each) => each.addresses.join())];
  return population.to([workloads, addresses, hosts, places, ofNode, asked.text, [...askedPorts].toSorted()], () =>
    findPopulation(input, facts, asked, askedPorts),
  );
}
