import { refKey, type ObjectRef } from "@bpfleet/base";
import type { RuleRef } from "@bpfleet/kernel";
import { compilePolicy } from "../compile/compile-policy.ts";
import type { ClosedPolicy } from "../compile/limits.ts";
import type { HostIntent, PolicyIntent, WorkloadIntent } from "../intent.ts";
import type { PolicyStatement, Requirement } from "../policy.ts";
import type { TableReason } from "../table/judge-table.ts";
import type { AddressPiece } from "./address-pieces.ts";
import { compareNodes } from "./compare-nodes.ts";
import { worldOf } from "./compared-world.ts";
import { findCells, type Cell } from "./find-cells.ts";
import { genericNodes, genericPods } from "./label-worlds.ts";
import { Rounds, type Holder } from "./rounds.ts";

/** What holds before, and what is to hold. */
export interface ComparedPolicies {
  readonly before: readonly PolicyIntent[];
  readonly after: readonly PolicyIntent[];
  /** Pods that there are, wherever they run; of none pods of every sort are made that the policies tell apart. */
  readonly workloads: readonly WorkloadIntent[];
  /**
   * Nodes that there are; of none, one that runs the pods and another one, and two of every other sort that the
   * policies tell apart.
   */
  readonly hosts: readonly HostIntent[];
}

export interface PolicyComparison {
  readonly differences: readonly PolicyDifference[];
  /** Objects that cannot be compiled, and why: of them nothing is told. */
  readonly refused: readonly { readonly ref: ObjectRef; readonly why: string }[];
  /** Pods were made up, of so many sorts. */
  readonly madeUp: number | undefined;
  /** Nodes were made up, of so many sorts; 0 where no policy is about what nodes receive and send. */
  readonly madeUpNodes: number | undefined;
  /** The selectors tell more sorts of pods or nodes apart than were looked at. */
  readonly isPartial: boolean;
}

/** Packets that are judged otherwise afterwards: of each of these with each of these peers on each of these ports. */
export interface PolicyDifference {
  /** As the pod or node sees it. */
  readonly direction: "ingress" | "egress";
  /** Either these or nodes. */
  readonly pods: readonly WorkloadIntent[];
  readonly nodes: readonly HostIntent[];
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
  const madeNodes = compared.hosts.length === 0 ? makeNodes([...before, ...after]) : undefined;
  const hosts = madeNodes?.hosts ?? compared.hosts;
  const isAboutNodes = statementsOf([...before, ...after]).some(({ subject }) => subject.selects === "nodes");
  const rounds = new Rounds(prefixesOf([...before, ...after]), pods, hosts);
  const refused = new Map<string, { readonly ref: ObjectRef; readonly why: string }>();
  const refuse = (closed: ClosedPolicy): unknown => refused.set(refKey(closed.ref), closed);
  const judged = pods.map((pod, at) => ({ judged: { is: "pod", pod } as const, ifindex: at + 1 }));
  const cells: Cell[] = [];
  for (const round of rounds.all()) {
    const { input, facts } = worldOf(pods, hosts, round);
    const [old, renewed] = [before, after].map((policies) => {
      const compiled = compilePolicy({ ...input, policies }, facts, () => 1);
      compiled.closed.forEach(refuse);
      return compiled;
    });
    if (old !== undefined && renewed !== undefined) cells.push(...findCells(old, renewed, judged, round));
  }
  if (isAboutNodes) cells.push(...compareNodes({ before, after, pods, hosts, rounds }, refuse));
  return {
    differences: gather(cells),
    refused: [...refused.values()],
    madeUp: made?.pods.length,
    madeUpNodes: madeNodes === undefined ? undefined : isAboutNodes ? madeNodes.hosts.length / 2 : 0,
    isPartial: made?.isWhole === false || (isAboutNodes && madeNodes?.isWhole === false),
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

/** Two of each sort, so that each has one like it to talk to; the first one runs the pods. */
function makeNodes(intents: readonly PolicyIntent[]): {
  readonly hosts: readonly HostIntent[];
  readonly isWhole: boolean;
} {
  const subjects = statementsOf(intents).flatMap(({ subject }) => (subject.selects === "nodes" ? [subject.where] : []));
  const peers = peersOf(intents).flatMap((peer) => (peer.peer === "nodes" ? [peer.where] : []));
  const { sorts, isWhole } = genericNodes([...subjects, ...peers]);
  const hosts = sorts.flatMap((labels, sort) =>
    (["this", "other"] as const).map((which): HostIntent => {
      const name = sort === 0 ? which : `${which}-${sort}`;
      const origin = { object: { group: "", kind: "Node", namespace: "", name }, path: "" };
      return { feature: "policy", about: "host", origin, name, labels, addresses: [], isThisNode: name === "this" };
    }),
  );
  return { hosts, isWhole };
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
    (cell) => `${why(cell)} ${numberOf(whoOf(cell))} ${numberOf(cell.holder)} ${numberOf(cell.piece)}`,
  );
  // One pod and one peer: all pieces with these ports.
  const ofPieces = merge(ofPorts, (group) => {
    const [cell] = group;
    return cell === undefined ? "" : `${why(cell)} ${numberOf(whoOf(cell))} ${numberOf(cell.holder)} ${spans(group)}`;
  });
  // One pod: all peers with these ports.
  const ofPeers = merge(ofPieces, (group) => {
    const [first = []] = group;
    const [cell] = first;
    return cell === undefined ? "" : `${why(cell)} ${numberOf(whoOf(cell))} ${spans(first)}`;
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
    const judged = groups.map((group) => group[0]?.[0]?.[0]?.judged);
    return [
      {
        direction,
        pods: judged.flatMap((each) => (each?.is === "pod" ? each.pod : [])),
        nodes: judged.flatMap((each) => (each?.is === "node" ? each.host : [])),
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

function whoOf({ judged }: Cell): WorkloadIntent | HostIntent {
  return judged.is === "pod" ? judged.pod : judged.host;
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
