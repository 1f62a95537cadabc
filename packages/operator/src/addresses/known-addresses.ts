import { canonicalJson } from "@bpfleet/base";
import type { AddressLabelSet, KnownAddress } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import type { KnownNode } from "../nodes/node-register.ts";

/** What is kept of a Pod: its addresses, and what they are. There may be 100,000: as few values as can be. */
export interface AddressedPod extends AnyObject {
  /** With a space between two. */
  readonly ips: string;
  readonly node: string;
  /** On the network of its node. */
  readonly isHostNetwork?: true;
  /** Undefined when it has ended. */
  readonly set: AddressLabelSet | undefined;
}

interface WirePod {
  readonly spec?: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly serviceAccountName?: string;
    readonly containers?: readonly WireContainer[];
    readonly initContainers?: readonly (WireContainer & { readonly restartPolicy?: string })[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip?: string }[];
  };
}

interface WireContainer {
  readonly ports?: readonly { readonly name?: string; readonly protocol?: string; readonly containerPort?: number }[];
}

const protocols = ["TCP", "UDP", "SCTP"] as const;

const most = 50_000;

/** Keeps equal label sets once, as pods of one make share theirs, and equal names of nodes and namespaces. */
export class LabelSets {
  readonly #sets = new Map<string, AddressLabelSet>();
  readonly #names = new Map<string, string>();

  name(name: string): string {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    if (this.#names.size > most) this.#names.clear();
    this.#names.set(name, name);
    return name;
  }

  of(set: AddressLabelSet): AddressLabelSet {
    const key = canonicalJson(set);
    const known = this.#sets.get(key);
    if (known !== undefined) return known;
    if (this.#sets.size > most) this.#sets.clear();
    this.#sets.set(key, set);
    return set;
  }
}

/** Pods on the network of their node, and those that have ended, have no address of their own. */
export function compactPod(object: AnyObject, sets: LabelSets): AddressedPod {
  const { name, namespace = "", resourceVersion, labels = {} } = object.metadata;
  const { spec = {}, status = {} } = object as WirePod;
  const hasEnded = status.phase === "Succeeded" || status.phase === "Failed";
  const hasOwn = spec.hostNetwork !== true && !hasEnded;
  const given = status.podIPs?.flatMap(({ ip }) => ip ?? []) ?? [];
  const ips = hasOwn ? (given.length > 0 ? given : status.podIP === undefined ? [] : [status.podIP]) : [];
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: { name, namespace: sets.name(namespace), resourceVersion },
    ips: ips.filter((ip) => ip !== "").join(" "),
    node: sets.name(spec.nodeName ?? ""),
    ...(spec.hostNetwork === true && { isHostNetwork: true as const }),
    set: hasEnded ? undefined : sets.of(setOf(labels, spec)),
  };
}

function setOf(labels: Readonly<Record<string, string>>, spec: NonNullable<WirePod["spec"]>): AddressLabelSet {
  const sidecars = (spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always");
  const ports = [...(spec.containers ?? []), ...sidecars].flatMap(({ ports: own = [] }) =>
    own.flatMap(({ name, protocol = "TCP", containerPort }) => {
      const known = protocols.find((each) => each === protocol);
      return name === undefined || containerPort === undefined || known === undefined
        ? []
        : [{ name, protocol: known, port: containerPort }];
    }),
  );
  return {
    labels,
    ...(spec.serviceAccountName === undefined || spec.serviceAccountName === ""
      ? {}
      : { serviceAccount: spec.serviceAccountName }),
    ...(ports.length === 0 ? {} : { ports: ports.slice(0, 64) }),
  };
}

/** Equal for pods that say the same to others. */
export function samePod(a: AddressedPod, b: AddressedPod): boolean {
  const isSameSet = a.set === b.set || canonicalJson(a.set) === canonicalJson(b.set);
  return isSameSet && a.node === b.node && a.ips === b.ips;
}

export function addressesOf(pod: AddressedPod): readonly KnownAddress[] {
  const { set, node, ips, metadata } = pod;
  if (set === undefined || node === "" || ips === "") return [];
  return ips.split(" ").map((ip) => ({ of: "Pod", namespace: metadata.namespace, ip, name: metadata.name, node, set }));
}

export function nodeAddresses({ metadata, addresses }: KnownNode, sets: LabelSets): readonly KnownAddress[] {
  const set = sets.of({ labels: metadata.labels ?? {} });
  return [...new Set(addresses)].map((ip) => ({ of: "Node", ip, node: metadata.name, set }));
}
