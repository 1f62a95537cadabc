import { Type } from "../../schema/type.ts";
import type { Static } from "typebox";
import { prefixRule } from "../../address/rules.ts";
import type { KubeObject } from "../../kind.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { flag, int32, interfaceName } from "../../schema/fields.ts";
import { programRules } from "./rules.ts";

export const programTypes = ["xdp", "tc-ingress", "tc-egress", "sockops", "cgroup"] as const;
export type ProgramKind = (typeof programTypes)[number];

const settingsSchema = Type.Object(
  {
    rateLimiting: Type.Optional(
      Type.Object(
        {
          enabled: flag("Whether sources are limited."),
          packetsPerSecond: int32({
            minimum: 1,
            default: 1000,
            description:
              "Packets that one source may send each second: one IPv4 address, or one IPv6 /64. A source may send as many at once after a second of silence.",
          }),
        },
        { description: "A token bucket for each source; what exceeds it is dropped." },
      ),
    ),
    blacklist: Type.Optional(
      Type.Object(
        {
          enabled: flag("Whether the list is used."),
          ips: Type.Optional(
            Type.Array(Type.String({ maxLength: 49, rules: [prefixRule] }), {
              maxItems: 131072,
              description:
                "IPv4 and IPv6 addresses and CIDRs. A CIDR with bits set past its length is read without them. Sources, or destinations for type tc-egress and cgroup.",
              "x-kubernetes-list-type": "atomic",
            }),
          ),
        },
        { description: "Addresses whose packets are dropped." },
      ),
    ),
    stateful: flag(
      "Replies to connections that left by this interface pass the rate limit. For types xdp and tc-ingress.",
    ),
    trafficControl: Type.Optional(
      Type.Object(
        {
          enableMarking: flag("Sets the mark of the packet in the kernel to defaultMark in the bits of markMask."),
          defaultMark: Type.Integer({
            format: "int64",
            minimum: 0,
            maximum: 4294967295,
            default: 0,
            description: "The mark, and with enableDSCP the DSCP value.",
          }),
          markMask: Type.Integer({
            format: "int64",
            minimum: 0,
            maximum: 4294967295,
            default: 4294967295,
            description: "The bits of the mark that are set; the others stay.",
          }),
          enableQoS: flag(
            "Sets the priority of the packet in the kernel from its DSCP, for the queueing discipline behind.",
          ),
          enableDSCP: flag("Writes defaultMark, 0 to 63, as DSCP to the IP header."),
        },
        { description: "Marks of packets, for types tc-ingress and tc-egress." },
      ),
    ),
    socketOps: Type.Optional(
      Type.Object(
        {
          enableMonitoring: Type.Boolean({
            default: true,
            description: "Counts the connections that sockets open, accept and close.",
          }),
          enableRedirection: flag(
            "Passes data between sockets of this node directly. Not served yet: the object says so in its status.",
          ),
          enableTracing: flag(
            "Records the states of each connection. Not served yet: the object says so in its status.",
          ),
        },
        { description: "What a program of type sockops does." },
      ),
    ),
    containerPolicy: Type.Optional(
      Type.Object(
        {
          enableAccounting: flag("Counts packets and bytes of the pods, in both directions."),
          enableEgressControl: flag("Applies blacklist and rateLimiting to what the pods send."),
          enableDeviceControl: flag(
            "Lets the pods use no devices but those that container runtimes give every container.",
          ),
        },
        { description: "What a program of type cgroup does to the pods of its namespace." },
      ),
    ),
  },
  { description: "What the program does." },
);

export const specSchema = Type.Object(
  {
    description: Type.Optional(Type.String({ maxLength: 4096, description: "For people." })),
    type: Type.Enum(programTypes, {
      description:
        "Where in the kernel the program runs: xdp as early as a packet can be seen, tc-ingress after it, tc-egress before a packet leaves, cgroup and sockops on the pods of the object's namespace.",
    }),
    interface: Type.Optional(
      interfaceName(
        "The network interface, for types xdp, tc-ingress and tc-egress. It may appear later, and be created anew.",
      ),
    ),
    priority: int32({
      minimum: 0,
      default: 10,
      description: "Order among the programs of one interface; lower runs first.",
    }),
    settings: Type.Optional(settingsSchema),
    maps: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
        maxItems: 32,
        description:
          "EBPFMaps of type lpm_trie in the same namespace to look addresses up in, after the own blacklist: value 1 drops, 0 passes. A map whose accessedBy names this program needs no mention.",
        "x-kubernetes-list-type": "set",
      }),
    ),
  },
  {
    description: "What the program is to do, and where.",
    rules: programRules,
  },
);

const counter = {
  packets: Type.Integer({ format: "int64", description: "Packets." }),
  bytes: Type.Integer({ format: "int64", description: "Bytes." }),
};

export const statusSchema = Type.Object(
  {
    state: Type.Optional(
      Type.Enum(["Pending", "Active", "Failed"], {
        description:
          "Pending: waits for something, reason says for what. Active: loaded and attached. Failed: not in force as asked, reason says why.",
      }),
    ),
    reason: Type.Optional(Type.String({ description: "Why the state is what it is." })),
    attachedTo: Type.Optional(Type.String({ description: "The interface, or the pods, it runs on." })),
    mode: Type.Optional(
      Type.String({
        description:
          "How it runs: native or skb for xdp, tcx or cls_bpf for tc, cgroup; beside other programs also inline or stub.",
      }),
    ),
    node: Type.Optional(Type.String({ description: "The node that this status is of." })),
    metrics: Type.Optional(
      Type.Object(
        {
          packetsPassed: Type.Integer({ format: "int64", description: "Packets that it let pass." }),
          bytesPassed: Type.Integer({ format: "int64", description: "Bytes of them." }),
          packetsDropped: Type.Integer({ format: "int64", description: "Packets that it dropped." }),
          bytesDropped: Type.Integer({ format: "int64", description: "Bytes of them." }),
          reasons: Type.Array(Type.Object({ reason: Type.String({ description: "Why." }), ...counter }), {
            description: "Packets by reason.",
          }),
          rules: Type.Array(
            Type.Object({
              rule: Type.String({ description: "As written." }),
              field: Type.String({ description: "Where it is written." }),
              ...counter,
            }),
            { description: "The rules that decided most packets, or most uses of devices." },
          ),
          gauges: Type.Record(Type.String(), Type.Integer({ format: "int64" }), {
            description: "Further numbers: tracked connections, entries in use.",
          }),
          pods: Type.Optional(
            Type.Array(
              Type.Object({
                pod: Type.String({ description: "Its name." }),
                received: Type.Optional(Type.Object(counter, { description: "What it received." })),
                sent: Type.Optional(Type.Object(counter, { description: "What it sent." })),
                dropped: Type.Optional(Type.Object(counter, { description: "What was kept from leaving." })),
                gauges: Type.Record(Type.String(), Type.Integer({ format: "int64" }), {
                  description: "Further numbers: connections, uses of devices.",
                }),
              }),
              { description: "For types cgroup and sockops, what was counted for each pod." },
            ),
          ),
        },
        { description: "Counted since the program was first loaded; kept when it is changed." },
      ),
    ),
    ...commonStatus,
  },
  { description: "What became of it." },
);

export type EBPFProgramSpec = Static<typeof specSchema>;
export type EBPFProgramStatus = Static<typeof statusSchema>;

export interface EBPFProgram extends KubeObject {
  readonly spec: EBPFProgramSpec;
  readonly status?: EBPFProgramStatus;
}
