import type { Static } from "typebox";
import type { KubeObject } from "../../kind.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { Type } from "../../schema/type.ts";

/** Most that one object holds; `boundNodeState` keeps to it, and `omitted…` counts the rest. */
export const nodeStateLimits = {
  results: 1000,
  programs: 500,
  maps: 1000,
  links: 500,
  conditions: 16,
  numbers: 256,
  texts: 16,
  textLength: 256,
  messageLength: 512,
  /** Of the status as JSON. An API server takes objects of 1.5 MiB, with what it adds. */
  bytes: 900 * 1024,
} as const;

export const resultStates = ["InForce", "Waiting", "Failed", "Pending", "NotSelected", "NotServed"] as const;

const atomic = { "x-kubernetes-list-type": "atomic" } as const;

function count(description: string): ReturnType<typeof Type.Integer> {
  return Type.Integer({ format: "int64", minimum: 0, description });
}

function text(maxLength: number, description: string): ReturnType<typeof Type.String> {
  return Type.String({ maxLength, description });
}

const objectName = {
  group: text(253, "API group; empty for the core group."),
  kind: text(63, "Kind."),
  namespace: text(63, "Namespace; empty for kinds that belong to none."),
  name: text(253, "Name."),
};

const resultConditionSchema = Type.Object({
  type: text(316, "What the condition is about."),
  status: Type.Enum(["True", "False", "Unknown"], { description: "Whether it holds on this node." }),
  reason: Type.String({ minLength: 1, maxLength: 1024, description: "One word for scripts." }),
  message: text(nodeStateLimits.messageLength, "One sentence for people; cut to 512 characters."),
});

const resultSchema = Type.Object({
  ...objectName,
  uid: Type.Optional(text(128, "The object's uid: one that was deleted and made anew is another.")),
  observedGeneration: Type.Optional(count("The generation of the object that this is about.")),
  state: Type.Enum(resultStates, {
    description:
      "InForce: all of it holds in the kernel. Waiting: served as soon as the world changes. Failed: the object or the kernel keeps it from that. Pending: on its way. NotSelected: the object does not mean this node. NotServed: the object asks for what is not served yet.",
  }),
  conditions: Type.Array(resultConditionSchema, {
    maxItems: nodeStateLimits.conditions,
    description: "The conditions of the object on this node.",
    ...atomic,
  }),
  numbers: Type.Record(Type.String(), Type.Integer({ format: "int64" }), {
    description: "Numbers of the object's status on this node, by JSON pointer: `/metrics/packetsDropped`.",
  }),
  texts: Type.Optional(
    Type.Record(Type.String(), text(nodeStateLimits.textLength, "One text; cut to 256 characters."), {
      description: "Texts of the object's status on this node, by JSON pointer: `/attachedTo`.",
    }),
  ),
});

const ownerSchema = Type.Object(objectName, { description: "The object that it is there for." });
const isOurs = Type.Boolean({ description: "False for what others put into the kernel; it is never touched." });
const id = count("Id in the kernel.");

const programSchema = Type.Object({
  id,
  type: text(64, "Type of program."),
  name: text(64, "Name in the kernel."),
  isOurs,
  owner: Type.Optional(ownerSchema),
  tag: Type.Optional(text(64, "Fingerprint of the instructions.")),
  image: Type.Optional(text(512, "Digest of the image that it came in.")),
  hook: Type.Optional(text(512, "Where it runs: `xdp/eth0`.")),
  position: Type.Optional(count("Place among the programs of its hook, from 0.")),
  runCount: Type.Optional(count("Runs since it was loaded, where the kernel counts them.")),
  runTimeNs: Type.Optional(count("Nanoseconds of all runs, where the kernel counts them.")),
  instructions: Type.Optional(count("Instructions that the verifier looked at.")),
  jitedBytes: Type.Optional(count("Bytes of machine code.")),
  loadedAt: Type.Optional(Type.String({ format: "date-time", description: "When it was loaded." })),
});

const mapSchema = Type.Object({
  id,
  type: text(64, "Type of map."),
  name: text(64, "Name in the kernel."),
  isOurs,
  owner: Type.Optional(ownerSchema),
  keySize: Type.Optional(count("Bytes of a key.")),
  valueSize: Type.Optional(count("Bytes of a value.")),
  maxEntries: Type.Optional(count("Most entries.")),
  entries: Type.Optional(count("Entries in it, where it was counted.")),
  memoryBytes: Type.Optional(count("Bytes of kernel memory, where the kernel tells.")),
});

const linkSchema = Type.Object({
  id,
  type: text(64, "Type of link."),
  programId: count("Id of the program that it attaches."),
  target: text(512, "What it is attached to."),
  isOurs,
  owner: Type.Optional(ownerSchema),
});

const inventoryCounts = { programs: count("Programs."), maps: count("Maps."), links: count("Links.") };

const inventorySchema = Type.Object(
  {
    total: Type.Object(inventoryCounts, { description: "How many there are in the kernel." }),
    omitted: Type.Object(inventoryCounts, {
      description: "How many of them are not listed because this object would grow too large; foreign ones go first.",
    }),
    programs: Type.Array(programSchema, {
      maxItems: nodeStateLimits.programs,
      description: "BPF programs.",
      ...atomic,
    }),
    maps: Type.Array(mapSchema, { maxItems: nodeStateLimits.maps, description: "BPF maps.", ...atomic }),
    links: Type.Array(linkSchema, { maxItems: nodeStateLimits.links, description: "BPF links.", ...atomic }),
  },
  { description: "Everything of BPF in the kernel of the node, ours and foreign." },
);

export const statusSchema = Type.Object(
  {
    observedAt: Type.Optional(
      Type.String({
        format: "date-time",
        description:
          "When the agent last wrote this. It does so only when something changed: condition Ready says whether it is still there.",
      }),
    ),
    versions: Type.Optional(
      Type.Object(
        {
          agent: Type.Optional(text(128, "Of the agent.")),
          daemon: Type.Optional(text(128, "Of the daemon.")),
          kernel: Type.Optional(text(128, "Release of the kernel, as `uname -r` says it.")),
          arch: Type.Optional(text(64, "Architecture of the node.")),
          libbpf: Type.Optional(text(64, "Of the library that loads programs.")),
        },
        { description: "What runs on the node." },
      ),
    ),
    isPaused: Type.Optional(Type.Boolean({ description: "Everything is detached by `ebpfctl pause`." })),
    objects: Type.Optional(
      Type.Object(
        {
          total: count("All of them."),
          inForce: count("In force."),
          waiting: count("Waiting for the world to change."),
          failed: count("Failed."),
          pending: count("On their way."),
          notSelected: count("That do not mean this node."),
          notServed: count("That ask for what is not served yet."),
        },
        { description: "How many objects the node has, by what became of them. Those that are not listed count too." },
      ),
    ),
    results: Type.Optional(
      Type.Array(resultSchema, {
        maxItems: nodeStateLimits.results,
        description: "What became of each object on this node.",
        ...atomic,
      }),
    ),
    omittedResults: Type.Optional(
      count("Objects that are not listed because this object would grow too large; those without trouble go first."),
    ),
    inventory: Type.Optional(inventorySchema),
    conditions: commonStatus.conditions,
  },
  { description: "What holds on the node." },
);

export type NodeStateStatus = Static<typeof statusSchema>;
/** What became of one object on one node. */
export type NodeStateResult = Static<typeof resultSchema>;
export type NodeStateResultState = NodeStateResult["state"];
export type NodeStateProgram = Static<typeof programSchema>;
export type NodeStateMap = Static<typeof mapSchema>;
export type NodeStateLink = Static<typeof linkSchema>;

/** Its name is the node's. */
export interface NodeState extends KubeObject {
  readonly status?: NodeStateStatus;
}
