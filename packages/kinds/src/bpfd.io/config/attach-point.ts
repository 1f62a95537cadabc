import { labelSelector } from "../../labels/label-selector.ts";
import { int32 } from "../../schema/fields.ts";
import type { Rule } from "../../schema/json-schema.ts";
import { Type } from "../../schema/type.ts";
import { cgroupHookNames, cgroupHooks, proceedNames } from "./program-types.ts";

const interfaceName = {
  minLength: 1,
  maxLength: 15,
  pattern: "^[^\\s/]+$",
  patternMeaning: "the name of a network interface, without spaces and /",
} as const;

/** Exactly one of the fields is there. */
function oneOf(fields: readonly string[]): Rule {
  const count = (self: Readonly<Record<string, unknown>>): number =>
    fields.filter((field) => self[field] !== undefined).length;
  const list = fields.join(", ").replace(/, (?=[^,]*$)/, " and ");
  return {
    cel: `[${fields.map((field) => `has(self.${field})`).join(", ")}].filter(x, x).size() == 1`,
    holds: (self: Readonly<Record<string, unknown>>) => count(self) === 1,
    reads: [],
    field: "",
    code: "invalid",
    message: `must have exactly one of ${list}`,
    explain: (self: Readonly<Record<string, unknown>>) => `must have exactly one of ${list}, has ${count(self)}`,
  };
}

const trueRule: Rule = {
  cel: "self",
  holds: (self: boolean) => self,
  reads: [""],
  field: "",
  code: "invalid",
  message: "must be true, or be left out",
};

const selectorSchema = Type.Object(
  {
    interface: Type.Optional(Type.String({ ...interfaceName, description: "The network interface." })),
    primarynodeinterface: Type.Optional(
      Type.Boolean({
        description: "The interface that has the node's InternalIP; without one, that of the default route.",
        rules: [trueRule],
      }),
    ),
  },
  { description: "Which interface.", rules: [oneOf(["interface", "primarynodeinterface"])] },
);

const networkSchema = Type.Object(
  {
    interface: Type.Optional(Type.String({ ...interfaceName, description: "The network interface." })),
    interfaceselector: Type.Optional(selectorSchema),
    priority: int32({ minimum: 0, maximum: 1000, description: "Order on the interface: lower runs first." }),
    direction: Type.Enum(["NONE", "INGRESS", "EGRESS"], {
      default: "NONE",
      description: "For type TC: which packets. NONE is INGRESS.",
    }),
    proceedon: Type.Optional(
      Type.Array(Type.Enum(proceedNames), {
        maxItems: 32,
        description:
          "After which verdicts the next program runs. XDP: ABORTED, DROP, PASS, TX, REDIRECT, usually PASS. TC: UNSPEC, OK, RECLASSIFY, SHOT, PIPE, STOLEN, QUEUED, REPEAT, REDIRECT, TRAP, usually UNSPEC and PIPE. DISPATCHER_RETURN stands for the usual ones.",
        "x-kubernetes-list-type": "atomic",
      }),
    ),
  },
  {
    description: "An interface that several programs share. For types XDP and TC.",
    rules: [oneOf(["interface", "interfaceselector"])],
  },
);

const singleSchema = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 512,
      pattern: "^[^\\s]+$",
      patternMeaning: "a name without spaces",
      description:
        "TRACEPOINT: category/name, such as syscalls/sys_enter_openat. RAW_TRACEPOINT: a name, such as sys_enter. Others: a function.",
    }),
    binary: Type.Optional(
      Type.String({
        minLength: 2,
        maxLength: 4096,
        pattern: "^/",
        patternMeaning: "an absolute path",
        description: "For UPROBE and URETPROBE: the program or library with the function.",
      }),
    ),
    offset: Type.Optional(
      Type.Integer({
        format: "int64",
        minimum: 0,
        maximum: 4294967295,
        description: "Bytes from the begin of the function, for KPROBE and UPROBE.",
      }),
    ),
  },
  { description: "One place in the kernel or in a program." },
);

const hooksInWords = Object.entries(cgroupHooks)
  .map(([type, hooks]) => `${type}: ${hooks.join(", ")}.`)
  .join(" ");

const cgroupSchema = Type.Object(
  {
    namespace: Type.String({ minLength: 1, maxLength: 63, description: "The namespace of the pods." }),
    podselector: Type.Optional(labelSelector("Which pods of the namespace; all of them when left out.")),
    hook: Type.Optional(
      Type.Enum(cgroupHookNames, {
        description: `Where in the cgroup; the first one when left out. ${hooksInWords}`,
      }),
    ),
  },
  { description: "The cgroups of pods. For the types CGROUP_… and SOCKOPS." },
);

export const attachPointSchema = Type.Object(
  {
    interface: Type.Optional(
      Type.String({
        ...interfaceName,
        description: "The network interface, with spec.priority; the form before networkmultiattach.",
      }),
    ),
    networkmultiattach: Type.Optional(networkSchema),
    singleattach: Type.Optional(singleSchema),
    cgroup: Type.Optional(cgroupSchema),
  },
  {
    description: "Where the program runs.",
    rules: [oneOf(["interface", "networkmultiattach", "singleattach", "cgroup"])],
  },
);
