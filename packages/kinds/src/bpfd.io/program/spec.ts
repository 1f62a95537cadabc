import type { Static } from "typebox";
import type { KubeObject } from "../../kind.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { Type } from "../../schema/type.ts";

const loadedSchema = Type.Object(
  {
    attachpoint: Type.Unknown({ description: "Where it runs, in the form in which the config says it." }),
    maps: Type.Record(Type.String(), Type.String({ maxLength: 4096 }), {
      description: "Name of each map → absolute path of its pin on the node.",
    }),
  },
  { description: "One program." },
);

export const programSpecSchema = Type.Object(
  {
    programs: Type.Record(Type.String(), loadedSchema, { description: "UUID → program." }),
    node: Type.Optional(Type.String({ maxLength: 253, description: "The node." })),
    type: Type.Optional(Type.String({ maxLength: 64, description: "The type of the config." })),
  },
  // Applied field by field, a map that has lost its last entry would become null, which is refused.
  { description: "What runs on one node for one config.", "x-kubernetes-map-type": "atomic" },
);

export const programStatusSchema = Type.Object(
  { conditions: commonStatus.conditions },
  { description: "Whether it is loaded." },
);

export interface NodeProgram extends KubeObject {
  readonly spec: Static<typeof programSpecSchema>;
}

export const programConditions: Readonly<Record<string, string>> = {
  Cause: "Something is not as asked: why. Ours; it comes first, and goes when the cause does.",
  Note: "All is as asked, and there is something to know: a map that was made anew, a field without effect. Ours.",
  Loaded: "The program runs.",
  NotLoaded: "The program could not be loaded or attached.",
  NotUnLoaded: "The program could not be removed.",
  NotSelected: "The node is not one of those that the config selects.",
};
