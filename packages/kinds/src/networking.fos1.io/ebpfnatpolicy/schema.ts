import type { Static } from "typebox";
import { addressRule, prefixRule } from "../../address/rules.ts";
import type { KubeObject } from "../../kind.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { descriptionText, int32, int64, interfaceName } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";
import { portMappings } from "../parts/port-mapping.ts";
import { natPolicyRules } from "./rules.ts";

export const specSchema = Type.Object(
  {
    description: Type.Optional(descriptionText()),
    type: Type.Enum(["snat", "dnat", "masquerade", "full"], {
      description:
        "snat: what leaves has externalIP as its source. masquerade: the address of the interface, whatever it is. dnat: what comes to externalIP goes to portMappings. full: dnat and snat.",
    }),
    interface: interfaceName("The network interface to the outside. It may appear later, and be created anew."),
    externalIP: Type.Optional(
      Type.String({ maxLength: 45, rules: [addressRule], description: "The address of the outside, IPv4 or IPv6." }),
    ),
    sourceAddresses: Type.Optional(
      Type.Array(Type.String({ maxLength: 49, rules: [prefixRule] }), {
        maxItems: 256,
        description:
          "Addresses and CIDRs whose packets are translated when they leave, for types snat, masquerade and full. All when left out.",
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    portMappings: Type.Optional(portMappings),
    enableTracking: Type.Boolean({
      default: true,
      description: "Connections are tracked, so that replies are translated back.",
    }),
    priority: int32({
      minimum: 0,
      default: 100,
      description: "Order among the policies of one interface; lower decides first.",
    }),
    ebpfProgram: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        description: "An EBPFProgram of the same namespace on the same interface that decides before.",
      }),
    ),
  },
  { description: "What is translated, and where.", rules: natPolicyRules },
);

export const statusSchema = Type.Object(
  {
    ...commonStatus,
    activeConnections: Type.Optional(int64("Connections that are translated now.")),
    metrics: Type.Optional(
      Type.Object(
        {
          packets: int64("Packets that were translated."),
          bytes: int64("Bytes of them."),
          translations: int64("Connections that were translated."),
        },
        { description: "Counted since the policy was first applied." },
      ),
    ),
  },
  { description: "What became of it." },
);

export type NatPolicySpec = Static<typeof specSchema>;
export type EBPFNATPolicyStatus = Static<typeof statusSchema>;

export interface EBPFNATPolicy extends KubeObject {
  readonly spec: NatPolicySpec;
  readonly status?: EBPFNATPolicyStatus;
}
