import { refKey, type ObjectRef } from "@bpfleet/base";
import type { RuleRef } from "@bpfleet/kernel";
import { compilePolicy, type CompileFacts, type PolicyInput } from "../compile/compile-policy.ts";
import type { HostIntent, PolicyIntent, WorkloadIntent } from "../intent.ts";
import type { PolicyStatement, Requirement } from "../policy.ts";
import type { TableReason } from "../table/judge-table.ts";
import { readAddress, type AddressPiece } from "./address-pieces.ts";
import { findCells, type Cell } from "./find-cells.ts";
import { genericPods } from "./label-worlds.ts";
import { Rounds, type Holder, type HeldPiece } from "./rounds.ts";

/** What holds before, and what is to hold. */
export interface ComparedPolicies {
  readonly before: readonly PolicyIntent[];
  readonly after: readonly PolicyIntent[];
  /** Pods that there are, wherever they run; of none pods of every sort are made that the policies tell apart. */
  readonly workloads: readonly WorkloadIntent[];
  /** Nodes that there are; of none, one that runs the pods and another one. */
  readonly hosts: readonly HostIntent[];
}

export interface PolicyComparison {
  readonly differences: readonly PolicyDifference[];
  /** Objects that cannot be compiled, and why: of them nothing is told. */
  readonly refused: readonly { readonly ref: ObjectRef; readonly why: string }[];
  /** Pods were made up, of so many sorts. */
  readonly madeUp: number | undefined;
  /** The selectors tell more sorts of pods apart than were looked at. */
  readonly isPartial: boolean;
}

/** Packets that are judged otherwise afterwards: each of these pods with each of these peers on each of these ports. */
export interface PolicyDifference {
  /** As the pod sees it. */
  readonly direction: "ingress" | "egress";
  readonly pods: readonly WorkloadIntent[];
  readonly peers: readonly DifferentPeer[];
  readonly ports: readonly PortSpan[];
  readonly before: ComparedDecision;
  readonly after: ComparedDecision;
}

export interface DifferentPeer {
  readonly holder: Holder;
  /** The peer has an address of any of them. */
  readonly pieces: readonly AddressPiece[];
}

/** `TCP`, `UDP`, `SCTP`: ports; `ICMP`, `ICMPv6`: types; `IP`: numbers of protocols. */
export interface PortSpan {
  readonly protocol: "TCP" | "UDP" | "SCTP" | "ICMP" | "ICMPv6" | "IP";
  readonly from: number;
  readonly to: number;
}

export interface ComparedDecision {
  readonly verdict: "pass" | "drop";
  readonly reason: TableReason;
  /** The rule that decides; of a default there is none. */
  readonly rule: RuleRef | undefined;
}

/**
 * Judges every packet that the policies can tell apart, before and after: every address, port and protocol, not some
 * of them.
 */
export function comparePolicies(compared: ComparedPolicies): PolicyComparison {
  const before = compared.before.filter(isEnforced);
  const after = compared.after.filter(isEnforced);
  const made = compared.workloads.length === 0 ? makePods([...before, ...after]) : undefined;
  const pods = (made?.pods ?? compared.workloads).filter(({ isHostNetwork }) => !isHostNetwork);
  const hosts = compared.hosts.length === 0 ? madeHosts : compared.hosts;
  const rounds = new Rounds(prefixesOf([...before, ...after]), pods, hosts);
  const refused = new Map<string, { readonly ref: ObjectRef; readonly why: string }>();
  const cells: Cell[] = [];
  for (const round of rounds.all()) {
    const world = worldOf(pods, hosts, round);
    const [old, renewed] = [before, after].map((policies) => {
      const compiled = compilePolicy({ ...world.input, policies }, world.facts, () => 1);
      for (const closed of compiled.closed) refused.set(refKey(closed.ref), closed);
      return compiled;
    });
    if (old !== undefined && renewed !== undefined) cells.push(...findCells(old, renewed, pods, world.facts, round));
  }
  return {
    differences: gather(cells),
    refused: [...refused.values()],
    madeUp: made?.pods.length,
    isPartial: made?.isWhole === false,
  };
}

function isEnforced({ policy }: PolicyIntent): boolean {
  return policy.mode === "enforce";
}

function statementsOf(intents: readonly PolicyIntent[]): readonly PolicyStatement[] {
  return intents.flatMap(({ policy }) => policy.statements);
}

function peersOf(intents: readonly PolicyIntent[]) {
  return statementsOf(intents)
    .flatMap(({ ingress, egress }) => [...ingress.allow, ...ingress.deny, ...egress.allow, ...egress.deny])
    .flatMap(({ peers }) => (peers === "any" ? [] : peers));
}

function prefixesOf(intents: readonly PolicyIntent[]) {
  return peersOf(intents).flatMap((peer) => (peer.peer === "addresses" ? [peer.prefix, ...peer.except] : []));
}

function makePods(intents: readonly PolicyIntent[]): {
  readonly pods: readonly WorkloadIntent[];
  readonly isWhole: boolean;
} {
  const subjects = statementsOf(intents).map(({ subject }) => subject.where);
  const peers = peersOf(intents).flatMap((peer): readonly (readonly Requirement[])[] =>
    peer.peer === "pods" ? [peer.where] : [],
  );
  const namespaces = intents.flatMap(({ policy: { ref } }) => (ref.namespace === "" ? [] : [ref.namespace]));
  const { pods, isWhole } = genericPods([...subjects, ...peers], namespaces);
  return {
    pods: pods.map(({ namespace, labels, namespaceLabels }, at) => {
      const object = { group: "", kind: "Pod", namespace, name: `pod-${at}` };
      return {
        feature: "policy",
        about: "workload",
        origin: { object, path: "" },
        pod: object,
        labels,
        namespaceLabels,
        serviceAccount: "",
        namedPorts: [],
        addresses: [],
        isHostNetwork: false,
        endpoint: undefined,
      };
    }),
    isWhole,
  };
}

const madeHosts: readonly HostIntent[] = (["this", "other"] as const).map((name) => ({
  feature: "policy",
  about: "host",
  origin: { object: { group: "", kind: "Node", namespace: "", name }, path: "" },
  name,
  labels: {},
  addresses: [],
  isThisNode: name === "this",
}));

/** Everybody with the addresses of this round. */
function worldOf(
  pods: readonly WorkloadIntent[],
  hosts: readonly HostIntent[],
  round: readonly HeldPiece[],
): { readonly input: Omit<PolicyInput, "policies">; readonly facts: CompileFacts } {
  const held = Map.groupBy(round, ({ holder }) =>
    holder.is === "pod" ? holder.pod : holder.is === "node" ? holder.host : undefined,
  );
  const addressesOf = (thing: WorkloadIntent | HostIntent): readonly string[] => [
    ...new Set([
      ...thing.addresses.filter((text) => readAddress(text) !== undefined),
      ...(held.get(thing) ?? []).map(({ address }) => address),
    ]),
  ];
  const endpoints = Object.fromEntries(
    pods.map((_, at) => [
      `pod-${at}`,
      { found: true, interface: `pod${at}`, ifindex: at + 1, addresses: [], mac: "02:00:00:00:00:01" } as const,
    ]),
  );
  return {
    input: {
      workloads: pods.map((pod, at) => ({ ...pod, addresses: addressesOf(pod), endpoint: `pod-${at}` })),
      addresses: [],
      hosts: hosts.map((host) => ({ ...host, addresses: addressesOf(host) })),
      services: [],
      settings: {},
    },
    facts: { nodeName: "this", interfaces: [], endpoints },
  };
}

/** Cells that are alike but for one thing become one difference. */
function gather(cells: readonly Cell[]): readonly PolicyDifference[] {
  const numbers = new Map<unknown, number>();
  const numberOf = (thing: unknown): number => {
    const known = numbers.get(thing) ?? numbers.size;
    numbers.set(thing, known);
    return known;
  };
  const merge = <T>(items: readonly T[], keyOf: (item: T) => string): readonly (readonly T[])[] => [
    ...Map.groupBy(items, keyOf).values(),
  ];
  const why = ({ direction, before, after }: Cell): string =>
    [direction, before, after].map((each) => (typeof each === "string" ? each : decisionKey(each))).join(" ");
  const spans = (each: readonly Cell[]): string =>
    mergeSpans(each.map(({ span }) => span))
      .map(({ protocol, from, to }) => `${protocol}${from}-${to}`)
      .join();
  // One pod and one peer at one piece: all ports.
  const ofPorts = merge(
    cells,
    (cell) => `${why(cell)} ${numberOf(cell.pod)} ${numberOf(cell.holder)} ${numberOf(cell.piece)}`,
  );
  // One pod and one peer: all pieces with these ports.
  const ofPieces = merge(ofPorts, (group) => {
    const [cell] = group;
    return cell === undefined ? "" : `${why(cell)} ${numberOf(cell.pod)} ${numberOf(cell.holder)} ${spans(group)}`;
  });
  // One pod: all peers with these ports.
  const ofPeers = merge(ofPieces, (group) => {
    const [first = []] = group;
    const [cell] = first;
    return cell === undefined ? "" : `${why(cell)} ${numberOf(cell.pod)} ${spans(first)}`;
  });
  const ofPods = merge(ofPeers, (group) => {
    const first = group[0]?.[0] ?? [];
    const [cell] = first;
    if (cell === undefined) return "";
    const peers = group.map((each) => {
      const pieces = each.map(([one]) => numberOf(one?.piece)).toSorted((a, b) => a - b);
      return `${numberOf(each[0]?.[0]?.holder)}:${pieces.join(",")}`;
    });
    return `${why(cell)} ${spans(first)} ${peers.toSorted().join(" ")}`;
  });
  return ofPods.flatMap((groups): readonly PolicyDifference[] => {
    const peers = groups[0] ?? [];
    const cells = peers[0]?.[0] ?? [];
    const [cell] = cells;
    if (cell === undefined) return [];
    const { direction, before, after } = cell;
    return [
      {
        direction,
        pods: groups.flatMap((group) => group[0]?.[0]?.[0]?.pod ?? []),
        peers: peers.flatMap((pieces) => {
          const holder = pieces[0]?.[0]?.holder;
          return holder === undefined ? [] : [{ holder, pieces: pieces.flatMap(([one]) => one?.piece ?? []) }];
        }),
        ports: mergeSpans(cells.map(({ span }) => span)),
        before,
        after,
      },
    ];
  });
}

function decisionKey({ verdict, reason, rule }: ComparedDecision): string {
  return `${verdict} ${reason} ${rule === undefined ? "" : `${refKey(rule.origin.object)} ${rule.origin.path} ${rule.id}`}`;
}

function mergeSpans(spans: readonly PortSpan[]): readonly PortSpan[] {
  const merged: PortSpan[] = [];
  const sorted = spans.toSorted((a, b) =>
    a.protocol < b.protocol ? -1 : a.protocol > b.protocol ? 1 : a.from - b.from,
  );
  for (const span of sorted) {
    const last = merged.at(-1);
    if (last?.protocol === span.protocol && last.to + 1 >= span.from)
      merged[merged.length - 1] = { ...last, to: Math.max(last.to, span.to) };
    else merged.push(span);
  }
  return merged;
}

export type { AddressPiece, Holder };
