import type { ObjectRef, Origin } from "@bpfleet/base";
import { keyOfPrefix, parseAddressKey } from "../compile/address-key.ts";
import type { Peer, Policy, PolicyDirection, PolicyRule, PortMatch, Requirement } from "../policy.ts";
import type { WorldPod } from "./world.ts";

/* Policies for tests, shortly written. */

const somewhere: Origin = { object: { group: "g", kind: "K", namespace: "x", name: "o" }, path: "" };

export type WrittenRule = Partial<Pick<PolicyRule, "peers" | "ports" | "description">>;

export interface WrittenDirection {
  readonly allow?: readonly WrittenRule[];
  readonly deny?: readonly WrittenRule[];
  readonly isDefaultDeny?: boolean;
}

export interface WrittenStatement {
  readonly where?: readonly Requirement[];
  readonly ingress?: WrittenDirection;
  readonly egress?: WrittenDirection;
}

export function refOf(name: string): ObjectRef {
  return { group: "networking.k8s.io", kind: "NetworkPolicy", namespace: "x", name };
}

export function policyOf(name: string, ...statements: readonly WrittenStatement[]): Policy {
  const object = refOf(name);
  const at = (path: string): Origin => ({ object, path });
  const direction = (field: string, written: WrittenDirection | undefined): PolicyDirection => {
    const rule = (list: string) => (wish: WrittenRule, index: number) => ({
      origin: at(`/spec/${list}/${index}`),
      description: undefined,
      peers: "any" as const,
      ports: "any" as const,
      bandwidth: undefined,
      unserved: [],
      ...wish,
    });
    return {
      isDefaultDeny: written?.isDefaultDeny ?? written !== undefined,
      allow: (written?.allow ?? []).map(rule(field)),
      deny: (written?.deny ?? []).map(rule(`${field}Deny`)),
    };
  };
  return {
    ref: object,
    mode: "enforce",
    onRevoke: "cut",
    statements: statements.map(({ where = [], ingress, egress }) => ({
      origin: at("/spec"),
      subject: { selects: "pods", where, origin: at("/spec/podSelector") },
      ingress: direction("ingress", ingress),
      egress: direction("egress", egress),
      options: {},
    })),
  };
}

/** Of this node, with nothing but its addresses. */
export function podOf(...addresses: readonly string[]): WorldPod {
  const nothing = { labels: {}, namespaceLabels: {}, serviceAccount: "", namedPorts: [] };
  return { ...nothing, name: "x/p", namespace: "x", addresses, isOnThisNode: true };
}

export function label(key: string, ...values: readonly string[]): Requirement {
  return { on: "pod", key, operator: "In", values };
}

export function podsWith(...where: readonly Requirement[]): Peer {
  return { origin: somewhere, peer: "pods", where };
}

/** `10.0.0.0/8` */
export function cidr(text: string, matches: "world" | "everything" = "world", except: readonly string[] = []): Peer {
  return { origin: somewhere, peer: "addresses", prefix: prefixOf(text), except: except.map(prefixOf), matches };
}

function prefixOf(text: string): Extract<Peer, { readonly peer: "addresses" }>["prefix"] {
  const key = parseAddressKey(text) ?? "";
  const family = key.startsWith("4") ? 4 : 6;
  const bytes = Uint8Array.from(
    key
      .slice(1)
      .split("")
      .flatMap((word) => [word.charCodeAt(0) >> 8, word.charCodeAt(0) & 255]),
  );
  const prefix = { family, bytes, length: Number(text.split("/")[1] ?? bytes.length * 8) } as const;
  if (keyOfPrefix(prefix) !== key) throw new RangeError(`${text} is no prefix`);
  return prefix;
}

export function tcp(from: number, to = from): PortMatch {
  return { origin: somewhere, match: "ports", protocol: "TCP", from, to, dns: undefined };
}

export function namedTcp(name: string): PortMatch {
  return { origin: somewhere, match: "named-port", protocol: "TCP", name, dns: undefined };
}
