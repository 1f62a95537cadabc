import type { Static } from "typebox";
import { prefixRule } from "../../address/rules.ts";
import type { KubeObject } from "../../kind.ts";
import { durationPattern, ratePattern, sizePattern } from "../../quantity/quantity.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { descriptionText, int32, int64, interfaceName } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";
import { portRange } from "../parts/ports.ts";
import { actionRules, notZero, trafficControlRules } from "./rules.ts";

const disciplines = ["htb", "tbf", "sfq", "fq_codel", "hfsc"] as const;

function rate(description: string): ReturnType<typeof Type.String> {
  return Type.String({
    minLength: 1,
    maxLength: 16,
    pattern: ratePattern,
    patternMeaning: "a rate in bits each second, like 10Mbit, 1.5Gbit or 100000",
    rules: [notZero],
    description,
  });
}

function size(description: string): ReturnType<typeof Type.String> {
  return Type.String({
    minLength: 1,
    maxLength: 16,
    pattern: sizePattern,
    patternMeaning: "a size in bytes, like 15kb or 1500; k is 1024",
    rules: [notZero],
    description,
  });
}

function prefix(description: string): ReturnType<typeof Type.String> {
  return Type.String({ maxLength: 49, rules: [prefixRule], description });
}

const mark = Type.Optional(
  Type.Integer({ format: "int64", minimum: 0, maximum: 4294967295, description: "The packet's mark in the kernel." }),
);

const classId = { minimum: 1, maximum: 65535 } as const;

const matchSchema = Type.Object(
  {
    srcIP: Type.Optional(prefix("Address or CIDR that the packet comes from.")),
    dstIP: Type.Optional(prefix("Address or CIDR that it goes to.")),
    srcPort: Type.Optional(portRange("Port that it comes from, or a range like 5060-5080.")),
    dstPort: Type.Optional(portRange("Port that it goes to, or a range like 5060-5080.")),
    dscp: Type.Optional(int32({ minimum: 0, maximum: 63, description: "DSCP in its header." })),
    mark,
  },
  { description: "What a packet must have; all of it. Left out, every packet of the protocol." },
);

const actionSchema = Type.Object(
  {
    type: Type.Enum(["pass", "drop", "mark", "police", "redirect"], {
      description:
        "pass: nothing else is done with it. drop: dropped. mark: marked. police: limited to a rate. redirect: sent out of another interface.",
    }),
    mark: Type.Optional(
      Type.Integer({
        format: "int64",
        minimum: 0,
        maximum: 4294967295,
        description: "For type mark: the mark in the kernel, and up to 63 also the DSCP.",
      }),
    ),
    police: Type.Optional(
      Type.Object(
        {
          rate: rate("Bits each second that pass."),
          burst: Type.Optional(size("Bytes that may come at once.")),
          exceed: Type.Enum(["drop", "continue", "remark"], {
            default: "drop",
            description:
              "What is done with more: drop it, let the next filter decide, or set its DSCP to 0 and let it pass.",
          }),
        },
        { description: "For type police." },
      ),
    ),
    redirect: Type.Optional(interfaceName("For type redirect: the interface that the packet leaves by.")),
  },
  { description: "What is done with the packets.", rules: actionRules },
);

const filterSchema = Type.Object({
  description: Type.Optional(descriptionText()),
  priority: int32({
    minimum: 1,
    maximum: 65535,
    default: 100,
    description: "Order of the filters; lower decides first, of equal ones the earlier.",
  }),
  protocol: Type.Enum(["ip", "tcp", "udp", "icmp", "all"], {
    default: "all",
    description: "Protocol of the packets; ip is IPv4 and IPv6. Ports are those of TCP and UDP.",
  }),
  match: Type.Optional(matchSchema),
  action: Type.Optional(actionSchema),
  classID: Type.Optional(int32({ ...classId, description: "The class that the packets wait in." })),
});

const classSchema = Type.Object({
  id: int32({ ...classId, description: "Number of the class." }),
  rate: Type.Optional(rate("Bits each second that it is sure of.")),
  ceiling: Type.Optional(rate("Bits each second that it may take when others leave them; at least rate.")),
  priority: Type.Optional(
    int32({ minimum: 0, maximum: 7, description: "Who is first when something is left; lower is." }),
  ),
  burst: Type.Optional(size("Bytes that it may send at once.")),
});

export const specSchema = Type.Object(
  {
    description: Type.Optional(descriptionText()),
    interface: interfaceName("The network interface. It may appear later, and be created anew."),
    direction: Type.Enum(["ingress", "egress"], { description: "Packets that come in, or that go out." }),
    queueingDiscipline: Type.Optional(
      Type.Object(
        {
          type: Type.Enum(disciplines, {
            description:
              "htb and hfsc have classes; tbf limits all to one rate; sfq and fq_codel share fairly among connections.",
          }),
          rate: Type.Optional(rate("Bits each second of all classes together.")),
          burst: Type.Optional(size("Bytes that may go at once.")),
          latency: Type.Optional(
            Type.String({
              minLength: 2,
              maxLength: 32,
              pattern: durationPattern,
              patternMeaning: "a duration, like 50ms",
              description: "How long a packet may wait, for type tbf.",
            }),
          ),
          quantum: Type.Optional(
            int32({
              minimum: 1,
              description: "Bytes that one connection or class sends before the next has its turn.",
            }),
          ),
        },
        { description: "How packets wait to be sent." },
      ),
    ),
    filters: Type.Optional(
      Type.Array(filterSchema, {
        maxItems: 512,
        description: "Which packets wait where, and what else is done with them.",
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    classes: Type.Optional(
      Type.Array(classSchema, {
        maxItems: 256,
        description: "Shares of the rate.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["id"],
      }),
    ),
    ebpfProgram: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        description: "An EBPFProgram of the same namespace on the same interface that decides before the filters.",
      }),
    ),
  },
  { description: "What waits, what is limited, and where.", rules: trafficControlRules },
);

export const statusSchema = Type.Object(
  {
    ...commonStatus,
    metrics: Type.Optional(
      Type.Object(
        {
          packets: int64("Packets sent."),
          bytes: int64("Bytes sent."),
          drops: int64("Packets dropped."),
          overlimits: int64("Times that a packet had to wait for its rate."),
          queueLength: int64("Packets that wait now."),
          backlog: int64("Bytes that wait now."),
        },
        { description: "What the kernel counts for the discipline." },
      ),
    ),
  },
  { description: "What became of it." },
);

export type TrafficControlSpec = Static<typeof specSchema>;
export type TrafficFilter = Static<typeof filterSchema>;
export type EBPFTrafficControlStatus = Static<typeof statusSchema>;

export interface EBPFTrafficControl extends KubeObject {
  readonly spec: TrafficControlSpec;
  readonly status?: EBPFTrafficControlStatus;
}
