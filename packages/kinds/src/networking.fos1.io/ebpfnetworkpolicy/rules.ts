import type { Rule } from "../../schema/json-schema.ts";
import type { NetworkPolicySpec } from "./schema.ts";

interface Peer {
  readonly ipBlock?: unknown;
  readonly podSelector?: unknown;
  readonly namespaceSelector?: unknown;
}

export const peerRules: readonly Rule[] = [
  {
    cel: "has(self.ipBlock) || has(self.podSelector) || has(self.namespaceSelector)",
    holds: (self: Peer) =>
      self.ipBlock !== undefined || self.podSelector !== undefined || self.namespaceSelector !== undefined,
    reads: [],
    shapes: [""],
    field: "",
    code: "required",
    message: "must have ipBlock, podSelector or namespaceSelector",
  },
  {
    cel: "!has(self.ipBlock) || (!has(self.podSelector) && !has(self.namespaceSelector))",
    holds: (self: Peer) =>
      self.ipBlock === undefined || (self.podSelector === undefined && self.namespaceSelector === undefined),
    reads: [],
    shapes: [""],
    field: "/ipBlock",
    code: "forbidden",
    message: "must stand alone: addresses are not those of selected pods; make two peers of it",
  },
];

export const portRules: readonly Rule[] = [
  {
    cel: "self.protocol != 'ICMP' || !has(self.port)",
    holds: (self: { readonly protocol: string; readonly port?: number }) =>
      self.protocol !== "ICMP" || self.port === undefined,
    reads: ["/protocol", "/port"],
    field: "/port",
    code: "forbidden",
    message: "must be left out for protocol ICMP: it has none",
  },
];

export const ruleRules: readonly Rule[] = [
  {
    cel: "self.action != 'mark' || has(self.mark)",
    holds: (self: { readonly action: string; readonly mark?: number }) =>
      self.action !== "mark" || self.mark !== undefined,
    reads: ["/action", "/mark"],
    field: "/mark",
    code: "required",
    message: "is required for action mark",
  },
];

export const networkPolicyRules: readonly Rule[] = [
  {
    cel: "self.policyType != 'nat' || has(self.nat)",
    holds: ({ policyType, nat }: NetworkPolicySpec) => policyType !== "nat" || nat !== undefined,
    reads: ["/policyType"],
    shapes: ["/nat"],
    field: "/nat",
    code: "required",
    message: "is required for policyType nat",
  },
  {
    cel: "self.policyType == 'nat' || !has(self.nat)",
    holds: ({ policyType, nat }: NetworkPolicySpec) => policyType === "nat" || nat === undefined,
    reads: ["/policyType"],
    shapes: ["/nat"],
    field: "/nat",
    code: "forbidden",
    message: "needs policyType nat",
  },
  {
    cel: "!has(self.selector) || !has(self.selector.nodeSelector) || (!has(self.selector.podSelector) && !has(self.selector.namespaceSelector))",
    holds: ({ selector }: NetworkPolicySpec) =>
      selector?.nodeSelector === undefined ||
      (selector.podSelector === undefined && selector.namespaceSelector === undefined),
    reads: [],
    shapes: ["/selector"],
    field: "/selector/nodeSelector",
    code: "forbidden",
    message: "must stand alone: a policy is for nodes or for pods",
  },
];

export const natRules: readonly Rule[] = [
  {
    cel: "self.type == 'masquerade' || has(self.externalIP)",
    holds: (self: { readonly type: string; readonly externalIP?: string }) =>
      self.type === "masquerade" || self.externalIP !== undefined,
    reads: ["/type", "/externalIP"],
    field: "/externalIP",
    code: "required",
    message: "is required for types snat and dnat",
  },
  {
    cel: "self.type != 'dnat' || (has(self.portMappings) && size(self.portMappings) > 0)",
    holds: (self: { readonly type: string; readonly portMappings?: readonly unknown[] }) =>
      self.type !== "dnat" || (self.portMappings ?? []).length > 0,
    reads: ["/type", "/portMappings"],
    field: "/portMappings",
    code: "required",
    message: "is required for type dnat",
  },
];
