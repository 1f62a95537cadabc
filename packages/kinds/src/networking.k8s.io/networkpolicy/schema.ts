import type { Static } from "typebox";
import type { KubeObject } from "../../kind.ts";
import { labelSelector } from "../../labels/label-selector.ts";
import { intOrString } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";

const port = Type.Object({
  protocol: Type.Enum(["TCP", "UDP", "SCTP"], { default: "TCP", description: "Of the port." }),
  port: Type.Optional(intOrString({ description: "A number, or the name of a container's port; left out it is any." })),
  endPort: Type.Optional(
    Type.Integer({
      format: "int32",
      minimum: 1,
      maximum: 65535,
      description: "The last port of a range that begins with port.",
    }),
  ),
});

const peer = Type.Object({
  podSelector: Type.Optional(labelSelector("Pods by their labels; {} is all of them.")),
  namespaceSelector: Type.Optional(labelSelector("Namespaces by their labels; {} is all of them.")),
  ipBlock: Type.Optional(
    Type.Object({
      cidr: Type.String({ minLength: 1, maxLength: 49, description: "An IPv4 or IPv6 CIDR." }),
      except: Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: 49 }), {
          maxItems: 4096,
          description: "CIDRs within it that are left out.",
        }),
      ),
    }),
  ),
});

const ports = Type.Optional(
  Type.Array(port, { maxItems: 4096, description: "Any of these ports; left out or empty it is any port." }),
);

function peers(description: string): ReturnType<typeof Type.Optional<ReturnType<typeof Type.Array<typeof peer>>>> {
  return Type.Optional(Type.Array(peer, { maxItems: 4096, description }));
}

const ingressRule = Type.Object({ ports, from: peers("Any of these; left out or empty it is anybody.") });
const egressRule = Type.Object({ ports, to: peers("Any of these; left out or empty it is anybody.") });

export const specSchema = Type.Object(
  {
    podSelector: Type.Optional(labelSelector("The pods whose traffic is judged; {} is every pod of the namespace.")),
    policyTypes: Type.Optional(
      Type.Array(Type.Enum(["Ingress", "Egress"]), {
        maxItems: 2,
        description:
          "Directions in which what no rule allows is denied. Left out: Ingress, and Egress if it has rules.",
      }),
    ),
    ingress: Type.Optional(
      Type.Array(ingressRule, { maxItems: 4096, description: "What may come in. An empty item allows everything." }),
    ),
    egress: Type.Optional(
      Type.Array(egressRule, { maxItems: 4096, description: "What may go out. An empty item allows everything." }),
    ),
  },
  { description: "Whose traffic is judged, and what is allowed." },
);

export type NetworkPolicySpec = Static<typeof specSchema>;
export type NetworkPolicyPort = Static<typeof port>;
export type NetworkPolicyPeer = Static<typeof peer>;

export interface NetworkPolicy extends KubeObject {
  readonly spec?: NetworkPolicySpec;
}
