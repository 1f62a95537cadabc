import { Type } from "./type.ts";

const conditionSchema = Type.Object(
  {
    type: Type.String({ maxLength: 316, description: "What the condition is about." }),
    status: Type.Enum(["True", "False", "Unknown"], { description: "Whether it holds." }),
    reason: Type.String({ minLength: 1, maxLength: 1024, description: "One word for scripts." }),
    message: Type.String({ maxLength: 32768, description: "One sentence for people." }),
    lastTransitionTime: Type.String({ format: "date-time", description: "When the status last changed." }),
    observedGeneration: Type.Optional(
      Type.Integer({ format: "int64", minimum: 0, description: "The generation it was set for." }),
    ),
  },
  { description: "One aspect of the object's state." },
);

/** The fields that the status of every kind begins with. */
export const commonStatus = {
  nodes: Type.Optional(
    Type.Object(
      {
        ready: Type.Integer({ format: "int64", minimum: 0, description: "Nodes on which it is in force." }),
        total: Type.Integer({ format: "int64", minimum: 0, description: "Nodes that it means." }),
      },
      { description: "On how many nodes of a cluster it is in force." },
    ),
  ),
  observedGeneration: Type.Optional(
    Type.Integer({ format: "int64", minimum: 0, description: "The generation of the object that this status is of." }),
  ),
  conditions: Type.Optional(
    Type.Array(conditionSchema, {
      description: "Whether the object is in force, and if not, why.",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["type"],
    }),
  ),
  lastUpdated: Type.Optional(
    Type.String({ format: "date-time", description: "When anything in this status last changed." }),
  ),
};
