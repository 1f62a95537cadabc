import type { Static } from "typebox";
import { addressRule } from "../../address/rules.ts";
import type { KubeObject } from "../../kind.ts";
import { labelSelector } from "../../labels/label-selector.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { descriptionText, int32, int64 } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";
import { ipBlockSchema } from "../parts/ip-block.ts";
import { portMappings } from "../parts/port-mapping.ts";
import { endPortRules } from "../parts/ports.ts";
import { natRules, networkPolicyRules, peerRules, portRules, ruleRules } from "./rules.ts";

const port = { minimum: 1, maximum: 65535 } as const;
const atomic = { "x-kubernetes-list-type": "atomic" } as const;

const peersSchema = Type.Array(
  Type.Object(
    {
      ipBlock: Type.Optional(ipBlockSchema),
      podSelector: Type.Optional(
        labelSelector("Labels of pods; of the policy's namespace unless namespaceSelector is there."),
      ),
      namespaceSelector: Type.Optional(labelSelector("Labels of namespaces.")),
    },
    { rules: peerRules },
  ),
  { maxItems: 32, description: "The other side; everybody when left out.", ...atomic },
);

const ruleFields = {
  description: Type.Optional(descriptionText()),
  ports: Type.Optional(
    Type.Array(
      Type.Object(
        {
          protocol: Type.Enum(["TCP", "UDP", "ICMP"], { default: "TCP", description: "Protocol of the packets." }),
          port: Type.Optional(int32({ ...port, description: "The port; every one when left out." })),
          endPort: Type.Optional(int32({ ...port, description: "The last port of a range that begins with port." })),
        },
        { rules: [...portRules, ...endPortRules] },
      ),
      { maxItems: 64, description: "Ports that packets go to; every protocol and port when left out.", ...atomic },
    ),
  ),
  action: Type.Enum(["allow", "deny", "log", "mark"], {
    default: "allow",
    description: "log and mark let pass.",
  }),
  mark: Type.Optional(
    int32({
      minimum: 0,
      maximum: 63,
      description: "For action mark: the DSCP of the packets in both directions, and their mark on the node.",
    }),
  ),
  rateLimit: Type.Optional(
    Type.Object(
      {
        bitsPerSecond: Type.Integer({
          format: "int64",
          minimum: 1,
          maximum: Number.MAX_SAFE_INTEGER,
          description: "Bits each second that the rule lets pass; what exceeds it is dropped.",
        }),
        burstSize: Type.Optional(
          Type.Integer({
            format: "int64",
            minimum: 1,
            maximum: Number.MAX_SAFE_INTEGER,
            description: "Bytes that may come at once.",
          }),
        ),
      },
      { description: "A limit for what the rule lets pass." },
    ),
  ),
};

const ingressSchema = Type.Object({ ...ruleFields, from: Type.Optional(peersSchema) }, { rules: ruleRules });
const egressSchema = Type.Object({ ...ruleFields, to: Type.Optional(peersSchema) }, { rules: ruleRules });

const natSchema = Type.Object(
  {
    type: Type.Enum(["snat", "dnat", "masquerade"], { description: "What is translated." }),
    externalIP: Type.Optional(
      Type.String({
        maxLength: 45,
        rules: [addressRule],
        description: "The address of the outside, for snat and dnat.",
      }),
    ),
    portMappings: Type.Optional(portMappings),
  },
  { description: "For policyType nat.", rules: natRules },
);

export const specSchema = Type.Object(
  {
    description: Type.Optional(descriptionText()),
    policyType: Type.Enum(["filtering", "routing", "nat", "qos"], {
      description:
        "What the policy is about. Only filtering will be served; for the others see EBPFNATPolicy and EBPFTrafficControl.",
    }),
    selector: Type.Optional(
      Type.Object(
        {
          podSelector: Type.Optional(labelSelector("Labels of the pods; {} is all of the namespace.")),
          namespaceSelector: Type.Optional(
            labelSelector(
              "Labels that the policy's own namespace must have; pods of other namespaces are never meant.",
            ),
          ),
          nodeSelector: Type.Optional(
            labelSelector("Labels of nodes, whose own traffic is judged then; {} is every node."),
          ),
        },
        { description: "Whom the policy is for; all pods of the namespace when left out." },
      ),
    ),
    priority: int32({
      minimum: 0,
      default: 1000,
      description: "Order among the policies of one pod; lower decides first.",
    }),
    ingress: Type.Optional(
      Type.Array(ingressSchema, {
        maxItems: 128,
        description: "Rules for what comes in. The first that matches decides; what none matches passes.",
        ...atomic,
      }),
    ),
    egress: Type.Optional(
      Type.Array(egressSchema, {
        maxItems: 128,
        description: "Rules for what goes out. The first that matches decides; what none matches passes.",
        ...atomic,
      }),
    ),
    nat: Type.Optional(natSchema),
    stateful: Type.Boolean({ default: true, description: "Replies to connections that were allowed pass." }),
  },
  { description: "Whom the selected may talk to.", rules: networkPolicyRules },
);

export const statusSchema = Type.Object(
  {
    ...commonStatus,
    metrics: Type.Optional(
      Type.Object(
        {
          matches: int64("Packets that a rule decided."),
          drops: int64("Packets that a rule denied; what is beyond a rateLimit is none of them."),
          allows: int64("Packets that a rule let pass."),
          packets: int64("Packets that the policy saw."),
          bytes: int64("Bytes of them."),
        },
        { description: "Counted since the policy was first applied." },
      ),
    ),
  },
  { description: "What became of it." },
);

export type NetworkPolicySpec = Static<typeof specSchema>;
export type EBPFNetworkPolicyStatus = Static<typeof statusSchema>;

export interface EBPFNetworkPolicy extends KubeObject {
  readonly spec: NetworkPolicySpec;
  readonly status?: EBPFNetworkPolicyStatus;
}
