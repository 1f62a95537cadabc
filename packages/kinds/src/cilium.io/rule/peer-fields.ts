import type { CiliumEgressRule, CiliumIngressRule } from "./rule-schema.ts";

/** One item of ingress, egress or a deny list; where a side does not have a field, it is never there. */
export type AnyRule = Partial<Omit<CiliumIngressRule, "toCIDR">> & Partial<CiliumEgressRule>;

export const ingressPeerFields = [
  "fromEndpoints",
  "fromCIDR",
  "fromCIDRSet",
  "fromEntities",
  "fromNodes",
  "fromGroups",
] as const;

export const egressPeerFields = [
  "toEndpoints",
  "toCIDR",
  "toCIDRSet",
  "toEntities",
  "toNodes",
  "toServices",
  "toFQDNs",
  "toGroups",
] as const;

export type PeerField = (typeof ingressPeerFields)[number] | (typeof egressPeerFields)[number];
