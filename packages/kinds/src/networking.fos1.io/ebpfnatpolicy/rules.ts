import { parsePrefix } from "../../address/prefix.ts";
import { familyOf } from "../parts/prefixes.ts";
import type { Rule } from "../../schema/json-schema.ts";
import type { NatPolicySpec } from "./schema.ts";

const toPorts = ["dnat", "full"];
const fromAddress = ["snat", "dnat", "full"];

export const natPolicyRules: readonly Rule[] = [
  {
    cel: "!(self.type in ['snat', 'dnat', 'full']) || has(self.externalIP)",
    holds: ({ type, externalIP }: NatPolicySpec) => !fromAddress.includes(type) || externalIP !== undefined,
    reads: ["/type", "/externalIP"],
    field: "/externalIP",
    code: "required",
    message: "is required for types snat, dnat and full",
  },
  {
    cel: "!(self.type in ['dnat', 'full']) || (has(self.portMappings) && size(self.portMappings) > 0)",
    holds: ({ type, portMappings = [] }: NatPolicySpec) => !toPorts.includes(type) || portMappings.length > 0,
    reads: ["/type"],
    shapes: ["/portMappings"],
    field: "/portMappings",
    code: "required",
    message: "is required for types dnat and full",
  },
  {
    cel: "self.type in ['dnat', 'full'] || !has(self.portMappings) || size(self.portMappings) == 0",
    holds: ({ type, portMappings = [] }: NatPolicySpec) => toPorts.includes(type) || portMappings.length === 0,
    reads: ["/type"],
    shapes: ["/portMappings"],
    field: "/portMappings",
    code: "forbidden",
    message: "needs type dnat or full",
  },
  {
    cel: "!has(self.externalIP) || !isIP(self.externalIP) || !has(self.portMappings) || self.portMappings.all(mapping, !isIP(mapping.internalIP) || ip(mapping.internalIP).family() == ip(self.externalIP).family())",
    holds: ({ externalIP, portMappings = [] }: NatPolicySpec) =>
      portMappings.every(
        ({ internalIP }) =>
          familyOf(externalIP) === undefined ||
          familyOf(internalIP) === undefined ||
          familyOf(internalIP) === familyOf(externalIP),
      ),
    reads: [],
    shapes: ["/externalIP", "/portMappings"],
    field: "/portMappings",
    code: "invalid",
    message: "must lead to addresses of the family of externalIP: IPv4 is not translated to IPv6, nor back",
  },
  {
    cel: "!(self.type in ['snat', 'full']) || !has(self.externalIP) || !isIP(self.externalIP) || !has(self.sourceAddresses) || self.sourceAddresses.all(source, isIP(source) ? ip(source).family() == ip(self.externalIP).family() : !isCIDR(source) || cidr(source).ip().family() == ip(self.externalIP).family())",
    holds: ({ type, externalIP, sourceAddresses = [] }: NatPolicySpec) =>
      (type !== "snat" && type !== "full") ||
      sourceAddresses.every((source) => {
        const read = parsePrefix(source);
        return !read.ok || familyOf(externalIP) === undefined || read.prefix.family === familyOf(externalIP);
      }),
    reads: ["/type"],
    shapes: ["/externalIP", "/sourceAddresses"],
    field: "/sourceAddresses",
    code: "invalid",
    message: "must be of the family of externalIP: IPv4 is not translated to IPv6, nor back",
  },
];
