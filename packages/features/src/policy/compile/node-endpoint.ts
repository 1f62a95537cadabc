import { refKey, type ObjectRef } from "@bpfleet/base";
import type { InterfaceFacts, NodeFacts } from "@bpfleet/kernel";
import { endpointNumber } from "../generated/policy.ts";
import type { HostIntent, WorkloadIntent } from "../intent.ts";
import type { OwnAddress } from "../table/policy-table.ts";
import { bytesOfKey, parseAddressKey } from "./address-key.ts";
import type { ClosedPolicy } from "./limits.ts";
import type { LocalPod, Statement } from "./statements.ts";

/** Where this node itself is reached: every interface that is not only a part of another one. */
export interface HostInterfaces {
  /** With Ethernet's headers. */
  readonly framed: readonly string[];
  /** Packets begin with IP. */
  readonly raw: readonly string[];
  /** What comes in there cannot be read. */
  readonly foreign: readonly string[];
}

/** Of these nothing comes in, or what does came in elsewhere. */
const idleKinds = new Set(["dummy", "ifb", "nlmon"]);

export function hostInterfaces({ interfaces }: Pick<NodeFacts, "interfaces">): HostInterfaces {
  const all = interfaces.filter(({ linkKind }) => !idleKinds.has(linkKind));
  const of = (part: InterfaceFacts["part"]): readonly string[] =>
    all.filter((each) => each.part === part).map(({ name }) => name);
  return { framed: of(undefined), raw: of("raw"), foreign: of("foreign") };
}

export function nodeRef({ nodeName }: Pick<NodeFacts, "nodeName">): ObjectRef {
  return { group: "", kind: "Node", namespace: "", name: nodeName };
}

/** Labels by which policies select this node. */
export function nodeLabels(
  hosts: readonly HostIntent[],
  { labels = {} }: Pick<NodeFacts, "labels">,
): Readonly<Record<string, string>> {
  return hosts.find(({ isThisNode }) => isThisNode)?.labels ?? labels;
}

/** This node, in the form in which pods are judged: one endpoint, whatever interfaces it has. */
export function nodeEndpoint(facts: Pick<NodeFacts, "nodeName">, statements: readonly number[]): LocalPod {
  const pod = nodeRef(facts);
  const workload: WorkloadIntent = {
    feature: "policy",
    about: "workload",
    origin: { object: pod, path: "" },
    pod,
    labels: {},
    namespaceLabels: {},
    serviceAccount: "",
    namedPorts: [],
    addresses: [],
    isHostNetwork: true,
    endpoint: undefined,
  };
  const place = { found: true, interface: "", ifindex: endpointNumber.host, addresses: [], mac: "" } as const;
  return { workload, key: "", facts: place, statements, isNode: true };
}

/** A refused object holds nothing back of a node: whoever loses that cannot mend it. */
export function withoutClosed(
  pod: LocalPod,
  statements: readonly Statement[],
  closed: ReadonlyMap<string, ClosedPolicy>,
): LocalPod {
  if (pod.isNode !== true || closed.size === 0) return pod;
  const served = (number: number): boolean => {
    const ref = statements[number]?.intent.policy.ref;
    return ref !== undefined && !closed.has(refKey(ref));
  };
  return { ...pod, statements: pod.statements.filter(served) };
}

/** By which packets are known to be for this node itself, broadcasts on its links among them; link-local ones are anyway. */
export function hostAddresses({ interfaces }: Pick<NodeFacts, "interfaces">): readonly OwnAddress[] {
  const keys = new Set(
    interfaces.flatMap(({ addresses }) =>
      addresses.flatMap((text) => {
        const own = parseAddressKey(text);
        if (own === undefined) return [];
        return own.startsWith("4") ? [own, ...broadcastOf(own, Number(text.split("/")[1] ?? 32))] : [own];
      }),
    ),
  );
  return [...keys].toSorted().map((key) => ({ bytes: bytesOfKey(key), hasNeighbours: false }));
}

function broadcastOf(key: string, length: number): readonly string[] {
  if (length > 30) return [];
  const address = key.charCodeAt(1) * 0x1_0000 + key.charCodeAt(2);
  const last = (address | (0xffff_ffff >>> length)) >>> 0;
  return [`4${String.fromCharCode(last >>> 16, last & 0xffff)}`];
}
