import type { Rule } from "../../schema/json-schema.ts";
import type { EBPFProgramSpec, ProgramKind } from "./schema.ts";

/** A switch that only some types can serve. */
function needsType(pointer: string, types: readonly ProgramKind[], why: string): Rule {
  const steps = pointer.slice(1).split("/");
  return {
    cel: `self.type in [${types.map((type) => `'${type}'`).join(", ")}] || !self.${steps.map((step) => `?${step}`).join(".")}.orValue(false)`,
    holds: (self: EBPFProgramSpec) => types.includes(self.type) || find(self, steps) !== true,
    reads: ["/type", pointer],
    field: pointer,
    code: "forbidden",
    message: `needs type ${types.join(", ").replace(/, (?=[^,]*$)/, " or ")}: ${why}`,
  };
}

function find(value: unknown, steps: readonly string[]): unknown {
  return steps.reduce<unknown>(
    (here, step) => (typeof here === "object" && here !== null ? (here as Record<string, unknown>)[step] : undefined),
    value,
  );
}

const packetTypes = ["xdp", "tc-ingress", "tc-egress", "cgroup"] as const;
const tcTypes = ["tc-ingress", "tc-egress"] as const;

export const programRules: readonly Rule[] = [
  {
    cel: "self.type in ['cgroup', 'sockops'] || has(self.interface)",
    holds: (self: EBPFProgramSpec) => self.type === "cgroup" || self.type === "sockops" || self.interface !== undefined,
    reads: ["/type", "/interface"],
    field: "/interface",
    code: "required",
    message: "is required for types xdp, tc-ingress and tc-egress",
  },
  needsType("/settings/rateLimiting/enabled", packetTypes, "a program on socket operations sees no packets"),
  needsType("/settings/blacklist/enabled", packetTypes, "a program on socket operations sees no packets"),
  needsType("/settings/trafficControl/enableMarking", tcTypes, "the kernel keeps marks only from there on"),
  needsType("/settings/trafficControl/enableQoS", tcTypes, "the kernel keeps priorities only from there on"),
  needsType("/settings/trafficControl/enableDSCP", tcTypes, "headers are rewritten there"),
  needsType("/settings/socketOps/enableRedirection", ["sockops"], "it is about sockets"),
  needsType("/settings/socketOps/enableTracing", ["sockops"], "it is about sockets"),
  needsType("/settings/containerPolicy/enableAccounting", ["cgroup"], "it is about pods"),
  needsType("/settings/containerPolicy/enableEgressControl", ["cgroup"], "it is about pods"),
  needsType("/settings/containerPolicy/enableDeviceControl", ["cgroup"], "it is about pods"),
  {
    cel: "!self.?settings.?trafficControl.?enableDSCP.orValue(false) || self.settings.trafficControl.defaultMark <= 63",
    holds: (self: EBPFProgramSpec) =>
      self.settings?.trafficControl?.enableDSCP !== true || self.settings.trafficControl.defaultMark <= 63,
    reads: ["/settings/trafficControl/enableDSCP", "/settings/trafficControl/defaultMark"],
    field: "/settings/trafficControl/defaultMark",
    code: "invalid",
    message: "must be at most 63 with enableDSCP: it is the DSCP value",
  },
];
