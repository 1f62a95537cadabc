import type { Rule } from "../../schema/json-schema.ts";
import { cgroupHooks, programTypeNames, programTypes, typesThatNeed } from "./program-types.ts";
import type { AttachField, ProgramTypeName } from "./program-types.ts";
import type { ConfigSpec } from "./spec.ts";

const fieldsOf = {
  network: ["interface", "networkmultiattach"],
  singleattach: ["singleattach"],
  cgroup: ["cgroup"],
} as const satisfies Record<AttachField, readonly string[]>;

/** The attach point may be missing, or have several forms: that is told by other rules. */
type Unruled = Pick<ConfigSpec, "type" | "priority"> & { readonly attachpoint?: ConfigSpec["attachpoint"] };

function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(", ");
}

function attachesBy(need: AttachField): Rule {
  const types = typesThatNeed(need);
  const fields = fieldsOf[need];
  return {
    cel: `!(self.type in [${quoted(types)}]) || ${fields.map((field) => `has(self.attachpoint.${field})`).join(" || ")}`,
    holds: ({ type, attachpoint = {} }: Unruled) =>
      programTypes[type].needs !== need ||
      Object.keys(attachpoint).length === 0 ||
      fields.some((field) => attachpoint[field] !== undefined),
    reads: ["/type"],
    field: "/attachpoint",
    code: "invalid",
    message: `must have ${fields.join(" or ")}: this type of program attaches by it`,
    explain: ({ type, attachpoint = {} }: Unruled) =>
      `must have ${fields.join(" or ")}, has ${Object.keys(attachpoint).join(", ")}: ${type} attaches by it`,
  };
}

/** A field of singleattach that only some types have. */
function onlyFor(field: "binary" | "offset", types: readonly ProgramTypeName[]): Rule {
  return {
    cel: `self.type in [${quoted(types)}] || !has(self.attachpoint.singleattach) || !has(self.attachpoint.singleattach.${field})`,
    holds: ({ type, attachpoint }: Unruled) => types.includes(type) || attachpoint?.singleattach?.[field] === undefined,
    reads: ["/type"],
    field: `/attachpoint/singleattach/${field}`,
    code: "forbidden",
    message: `is for types ${types.join(", ").replace(/, (?=[^,]*$)/, " and ")} only`,
  };
}

function hooksOf(type: ProgramTypeName, hooks: readonly string[]): Rule {
  return {
    cel: `self.type != '${type}' || !has(self.attachpoint.cgroup) || !has(self.attachpoint.cgroup.hook) || self.attachpoint.cgroup.hook in [${quoted(hooks)}]`,
    holds: (self: Unruled) => {
      const hook = self.attachpoint?.cgroup?.hook;
      return self.type !== type || hook === undefined || hooks.includes(hook);
    },
    reads: ["/type"],
    field: "/attachpoint/cgroup/hook",
    code: "invalid",
    message: `must be ${hooks.join(" or ")} for type ${type}`,
  };
}

export const configRules: readonly Rule[] = [
  attachesBy("network"),
  attachesBy("singleattach"),
  attachesBy("cgroup"),
  {
    cel: "!has(self.attachpoint.interface) || has(self.priority)",
    holds: ({ attachpoint, priority }: Unruled) => attachpoint?.interface === undefined || priority !== undefined,
    reads: ["/priority"],
    field: "/priority",
    code: "required",
    message: "is required with attachpoint.interface",
  },
  {
    cel: "self.type != 'TRACEPOINT' || !has(self.attachpoint.singleattach) || self.attachpoint.singleattach.name.matches('^[^/]+/[^/]+$')",
    holds: ({ type, attachpoint }: Unruled) =>
      type !== "TRACEPOINT" || /^[^/]+\/[^/]+$/.test(attachpoint?.singleattach?.name ?? "a/b"),
    reads: ["/type"],
    field: "/attachpoint/singleattach/name",
    code: "invalid",
    message: "must be category/name for type TRACEPOINT, such as syscalls/sys_enter_openat",
  },
  {
    cel: "!(self.type in ['UPROBE', 'URETPROBE']) || !has(self.attachpoint.singleattach) || has(self.attachpoint.singleattach.binary)",
    holds: ({ type, attachpoint }: Unruled) =>
      (type !== "UPROBE" && type !== "URETPROBE") ||
      attachpoint?.singleattach === undefined ||
      attachpoint.singleattach.binary !== undefined,
    reads: ["/type"],
    field: "/attachpoint/singleattach/binary",
    code: "required",
    message: "is required for types UPROBE and URETPROBE",
  },
  onlyFor("binary", ["UPROBE", "URETPROBE"]),
  onlyFor("offset", ["KPROBE", "UPROBE"]),
  ...programTypeNames.flatMap((type) => {
    const hooks = cgroupHooks[type];
    return hooks === undefined ? [] : [hooksOf(type, hooks)];
  }),
];
