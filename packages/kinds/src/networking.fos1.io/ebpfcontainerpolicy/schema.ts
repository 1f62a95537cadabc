import type { Static } from "typebox";
import type { KubeObject } from "../../kind.ts";
import { labelSelector } from "../../labels/label-selector.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { descriptionText, flag, int32, int64 } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";
import { ipBlockSchema } from "../parts/ip-block.ts";
import { endPortRules } from "../parts/ports.ts";
import { deviceRules, selectorRule } from "./rules.ts";

const port = { minimum: 1, maximum: 65535 } as const;
const atomic = { "x-kubernetes-list-type": "atomic" } as const;

const ruleSchema = Type.Object({
  description: Type.Optional(descriptionText()),
  ipBlock: Type.Optional(ipBlockSchema),
  ports: Type.Optional(
    Type.Array(
      Type.Object(
        {
          protocol: Type.Enum(["TCP", "UDP"], { default: "TCP", description: "Protocol of the ports." }),
          port: Type.Optional(int32({ ...port, description: "The port; every one when left out." })),
          endPort: Type.Optional(int32({ ...port, description: "The last port of a range that begins with port." })),
        },
        { rules: endPortRules },
      ),
      { maxItems: 64, description: "Ports that packets go to; every protocol and port when left out.", ...atomic },
    ),
  ),
  action: Type.Enum(["allow", "deny", "log"], {
    default: "allow",
    description: "log lets pass, and tells as an event.",
  }),
});

function rules(description: string): ReturnType<typeof Type.Array<typeof ruleSchema>> {
  return Type.Array(ruleSchema, { maxItems: 256, description, ...atomic });
}

const bitsPerSecond = { format: "int64", minimum: 1, maximum: Number.MAX_SAFE_INTEGER } as const;

const resourceLimitsSchema = Type.Object(
  {
    enableAccounting: Type.Boolean({ default: true, description: "Counts packets and bytes of each pod." }),
    bandwidthLimits: Type.Optional(
      Type.Object(
        {
          ingressBitsPerSecond: Type.Optional(
            Type.Integer({ ...bitsPerSecond, description: "Bits each second that a pod may receive." }),
          ),
          egressBitsPerSecond: Type.Optional(
            Type.Integer({ ...bitsPerSecond, description: "Bits each second that a pod may send." }),
          ),
          burstBytes: Type.Optional(
            Type.Integer({
              format: "int64",
              minimum: 1,
              maximum: Number.MAX_SAFE_INTEGER,
              description: "Bytes that a pod may send or receive at once.",
            }),
          ),
        },
        { description: "How fast each pod may be." },
      ),
    ),
    connectionLimits: Type.Optional(
      Type.Object(
        {
          maxConnections: Type.Optional(int32({ minimum: 1, description: "Connections that a pod may have open." })),
          maxConnectionRate: Type.Optional(
            int32({ minimum: 1, description: "Connections that a pod may begin each second." }),
          ),
        },
        { description: "How many connections each pod may have." },
      ),
    ),
  },
  { description: "How much each pod may use." },
);

const networkControlsSchema = Type.Object(
  {
    enableEgressControl: flag("Whether egressRules and defaultEgressAction decide."),
    enableIngressControl: flag("Whether ingressRules and defaultIngressAction decide."),
    defaultEgressAction: Type.Enum(["allow", "deny"], {
      default: "allow",
      description: "What becomes of packets from the pods that no rule names.",
    }),
    defaultIngressAction: Type.Enum(["allow", "deny"], {
      default: "allow",
      description: "What becomes of packets to the pods that no rule names.",
    }),
    egressRules: Type.Optional(
      rules("For packets from the pods; ipBlock is where they go. The first that matches decides."),
    ),
    ingressRules: Type.Optional(
      rules("For packets to the pods; ipBlock is where they come from. The first that matches decides."),
    ),
  },
  { description: "Whom the pods may talk to." },
);

const deviceSchema = Type.Object(
  {
    deviceType: Type.Enum(["char", "block"], { description: "Kind of device." }),
    major: Type.Optional(int32({ minimum: 0, maximum: 4095, description: "Its major number; any when left out." })),
    minor: Type.Optional(int32({ minimum: 0, maximum: 1048575, description: "Its minor number; any when left out." })),
    description: Type.Optional(descriptionText()),
  },
  { rules: deviceRules },
);

const deviceControlSchema = Type.Object(
  {
    enableDeviceControl: flag("Whether devices are controlled."),
    defaultDeviceAction: Type.Enum(["allow", "deny"], {
      default: "deny",
      description: "What becomes of devices that are not listed.",
    }),
    allowedDevices: Type.Optional(
      Type.Array(deviceSchema, { maxItems: 256, description: "Devices that the pods may use.", ...atomic }),
    ),
  },
  { description: "Which devices the pods may use." },
);

export const specSchema = Type.Object(
  {
    description: Type.Optional(descriptionText()),
    selector: Type.Object(
      {
        podSelector: Type.Optional(labelSelector("Labels of the pods; {} is all of the namespace.")),
        namespaceSelector: Type.Optional(
          labelSelector("Labels that the object's own namespace must have; pods of other namespaces are never meant."),
        ),
      },
      { description: "The pods that are meant.", rules: [selectorRule] },
    ),
    resourceLimits: Type.Optional(resourceLimitsSchema),
    networkControls: Type.Optional(networkControlsSchema),
    deviceControl: Type.Optional(deviceControlSchema),
    priority: int32({
      minimum: 0,
      default: 1000,
      description: "Order among the policies of one pod; lower decides first.",
    }),
  },
  { description: "What pods may use, and whom they may talk to." },
);

export const statusSchema = Type.Object(
  {
    ...commonStatus,
    appliedTo: Type.Optional(
      Type.Array(
        Type.Object({
          podName: Type.String({ maxLength: 253, description: "Name of the pod." }),
          namespace: Type.String({ maxLength: 63, description: "Its namespace." }),
          cgroupId: Type.Optional(int64("Id of its cgroup.")),
        }),
        { maxItems: 256, description: "Pods that it is in force for, the first 256 by name.", ...atomic },
      ),
    ),
    metrics: Type.Optional(
      Type.Object(
        {
          bytesIn: int64("Bytes that the pods received."),
          bytesOut: int64("Bytes that they sent."),
          connections: Type.Optional(int64("Connections that they have open.")),
          blocked: int64("Packets and connections that were refused."),
        },
        { description: "Of all pods together, counted since the policy was first applied." },
      ),
    ),
  },
  { description: "What became of it." },
);

export type ContainerPolicySpec = Static<typeof specSchema>;
export type ContainerRule = Static<typeof ruleSchema>;
export type EBPFContainerPolicyStatus = Static<typeof statusSchema>;

export interface EBPFContainerPolicy extends KubeObject {
  readonly spec: ContainerPolicySpec;
  readonly status?: EBPFContainerPolicyStatus;
}
