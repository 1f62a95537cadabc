import { intOrString } from "../../schema/fields.ts";
import type { Rule } from "../../schema/json-schema.ts";

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** `443`, `"443"` or `"5060-5080"`; `undefined` for what is no port of 1 to 65535. */
export function parsePortRange(written: number | string): PortRange | undefined {
  const [, first = "", last = first] = /^(\d+)(?:-(\d+))?$/.exec(String(written)) ?? [];
  const range = { from: Number(first), to: Number(last) };
  return first !== "" && range.from >= 1 && range.from <= range.to && range.to <= 65535 ? range : undefined;
}

const port = "0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/** A port as number or text, or a range as text. That a range does not run backwards is checked elsewhere. */
export function portRange(description: string): ReturnType<typeof intOrString> {
  return intOrString({
    minimum: 1,
    maximum: 65535,
    pattern: `^${port}(-${port})?$`,
    patternMeaning: "a port from 1 to 65535, or a range of them like 5060-5080",
    description,
  });
}

/** Of a value with `port` and `endPort`. */
export const endPortRules: readonly Rule[] = [
  {
    cel: "!has(self.endPort) || has(self.port)",
    holds: (self: { readonly port?: number; readonly endPort?: number }) =>
      self.endPort === undefined || self.port !== undefined,
    reads: [],
    shapes: [""],
    field: "/endPort",
    code: "forbidden",
    message: "needs port: the first of the range",
  },
  {
    cel: "!has(self.endPort) || !has(self.port) || self.port <= self.endPort",
    holds: (self: { readonly port?: number; readonly endPort?: number }) =>
      self.endPort === undefined || self.port === undefined || self.port <= self.endPort,
    reads: [],
    shapes: [""],
    field: "/endPort",
    code: "invalid",
    message: "must be at least port",
  },
];
