import type { Static } from "typebox";
import type { KubeObject } from "../../kind.ts";
import { labelSelector } from "../../labels/label-selector.ts";
import { int32 } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";
import { attachPointSchema } from "./attach-point.ts";
import { programTypeNames } from "./program-types.ts";
import { configRules } from "./rules.ts";

export const configSpecSchema = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 256,
      pattern: "^[^\\s]+$",
      patternMeaning: "a name without spaces",
      description:
        "Section of the program in its object: pass is the section xdp/pass, xdp.frags/pass, classifier/pass, … or pass itself; or the name of the function.",
    }),
    type: Type.Enum(programTypeNames, { description: "What kind of program it is." }),
    nodeselector: labelSelector("The nodes it runs on, by their labels; {} is every node."),
    priority: Type.Optional(
      int32({
        minimum: 0,
        maximum: 1000,
        description: "Order on the interface, with attachpoint.interface: lower runs first.",
      }),
    ),
    attachpoint: attachPointSchema,
    bytecode: Type.Unknown({
      description:
        "Where the program comes from: the text image://REFERENCE or file:///PATH, or one of the fields imageurl (REFERENCE), path (PATH) and image with url, imagepullpolicy (Always, Never or IfNotPresent, the usual) and imagepullsecret (a Secret of namespace bpfd).",
    }),
    globals: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          "Values of the program's global variables by name, `const volatile` ones and those in .data and .bss, which begin with them: a number, true or false, text, or a list of these; large numbers as text.",
      }),
    ),
    sharedmaps: Type.Optional(
      Type.Record(Type.String(), Type.String({ minLength: 1, maxLength: 253 }), {
        description: "Name of a map → name of another config of this kind whose map of that name is used instead.",
      }),
    ),
  },
  { description: "A program, where it comes from and where it runs.", rules: configRules },
);

export type ConfigSpec = Static<typeof configSpecSchema>;

export interface ProgramConfig extends KubeObject {
  readonly spec: ConfigSpec;
}

/**
 * Which form of the API an object is written in: `first` has the interface beside spec.priority, `second`
 * networkmultiattach.interface or singleattach, `third` whatever came later.
 */
export function eraOf({ attachpoint, bytecode }: ConfigSpec): "first" | "second" | "third" {
  if (attachpoint.interface !== undefined) return "first";
  const isPlain = attachpoint.networkmultiattach?.interfaceselector === undefined && attachpoint.cgroup === undefined;
  return isPlain && typeof bytecode === "string" ? "second" : "third";
}
