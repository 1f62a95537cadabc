import { describe } from "../schema/admit.ts";
import type { Rule } from "../schema/json-schema.ts";
import { parsePrefix } from "./prefix.ts";

export const prefixRule: Rule = {
  cel: "isIP(self) || isCIDR(self)",
  holds: (self: string) => parsePrefix(self).ok,
  reads: [""],
  field: "",
  code: "invalid",
  message: "must be an IPv4 or IPv6 address or a CIDR",
  explain: (self: string) => {
    const read = parsePrefix(self);
    return `must be an IPv4 or IPv6 address or a CIDR, is ${describe(self)}: ${read.ok ? "" : read.because}`;
  },
};

export const addressRule: Rule = {
  cel: "isIP(self)",
  holds: (self: string) => !self.includes("/") && parsePrefix(self).ok,
  reads: [""],
  field: "",
  code: "invalid",
  message: "must be an IPv4 or IPv6 address",
  explain: (self: string) => `must be an IPv4 or IPv6 address, is ${describe(self)}`,
};
