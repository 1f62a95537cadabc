import { addressRule } from "../../address/rules.ts";
import { descriptionText, int32 } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";

const port = { minimum: 1, maximum: 65535 } as const;

const portMappingSchema = Type.Object({
  protocol: Type.Enum(["tcp", "udp"], { default: "tcp", description: "Protocol of the port." }),
  externalPort: int32({ ...port, description: "The port that packets come to." }),
  internalIP: Type.String({ maxLength: 45, rules: [addressRule], description: "The address that they go to." }),
  internalPort: int32({ ...port, description: "The port that they go to." }),
  description: Type.Optional(descriptionText()),
});

/** Each port of a protocol once. */
export const portMappings = Type.Array(portMappingSchema, {
  maxItems: 256,
  description: "Ports of the outside, and where they lead.",
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": ["protocol", "externalPort"],
});
