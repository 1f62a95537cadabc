import type { Rule } from "../../schema/json-schema.ts";

export const selectorRule: Rule = {
  cel: "has(self.podSelector) || has(self.namespaceSelector)",
  holds: (self: { readonly podSelector?: unknown; readonly namespaceSelector?: unknown }) =>
    self.podSelector !== undefined || self.namespaceSelector !== undefined,
  reads: [],
  shapes: [""],
  field: "/podSelector",
  code: "required",
  message: "is required; {} means all pods of the namespace",
};

export const deviceRules: readonly Rule[] = [
  {
    cel: "!has(self.minor) || has(self.major)",
    holds: (self: { readonly major?: number; readonly minor?: number }) =>
      self.minor === undefined || self.major !== undefined,
    reads: ["/major", "/minor"],
    field: "/minor",
    code: "forbidden",
    message: "needs major: a minor number alone names no device",
  },
];
