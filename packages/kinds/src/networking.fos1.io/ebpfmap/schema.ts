import { Type } from "../../schema/type.ts";
import type { Static } from "typebox";
import type { KubeObject } from "../../kind.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { flag, int32, intOrString } from "../../schema/fields.ts";
import { mapRules, pinPathRule } from "./rules.ts";

export const mapTypes = [
  "hash",
  "array",
  "lru_hash",
  "lpm_trie",
  "percpu_hash",
  "percpu_array",
  "stack",
  "queue",
  "ringbuf",
  "perf_event_array",
] as const;
export type EBPFMapType = (typeof mapTypes)[number];

const entrySchema = Type.Object({
  key: intOrString({
    description:
      "The key: `0x…` with every byte of it, a decimal number, or for lpm_trie an address with a prefix length.",
  }),
  value: intOrString({ description: "The value: `0x…` with every byte of it, or a decimal number." }),
});

export const specSchema = Type.Object(
  {
    description: Type.Optional(Type.String({ maxLength: 4096, description: "For people." })),
    type: Type.Enum(mapTypes, { description: "What kind of data structure the kernel keeps." }),
    maxEntries: int32({
      minimum: 1,
      description:
        "Most entries the map holds. For ringbuf bytes, rounded up to a power of two of at least one page; for perf_event_array the number of CPUs.",
    }),
    keySize: Type.Optional(
      int32({
        minimum: 0,
        maximum: 512,
        description:
          "Bytes of a key. 4 for arrays; for lpm_trie 4 more than the data: 8 for IPv4, 20 for IPv6; none for stack, queue and ringbuf.",
      }),
    ),
    valueSize: Type.Optional(
      int32({
        minimum: 0,
        maximum: 1048576,
        description: "Bytes of a value; for per-CPU maps, of one CPU's value. None for ringbuf.",
      }),
    ),
    flags: Type.Integer({
      format: "int64",
      minimum: 0,
      maximum: 4294967295,
      default: 0,
      description: "BPF_F_* flags of map creation. BPF_F_NO_PREALLOC (1) is added for lpm_trie.",
    }),
    pinPath: Type.Optional(
      Type.String({
        minLength: 2,
        maxLength: 1024,
        pattern: "^(/[^/\\x00]+)+$",
        patternMeaning: "an absolute path on a bpffs without a slash at its end",
        rules: [pinPathRule],
        description: "A file on a bpffs to pin the map at, for other programs.",
      }),
    ),
    accessedBy: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
        maxItems: 256,
        description:
          "EBPFPrograms of the same namespace that use the map. A program that drops by address looks up an lpm_trie with valueSize 4: value 1 drops, 0 passes.",
        "x-kubernetes-list-type": "set",
      }),
    ),
    initData: Type.Optional(
      Type.Array(entrySchema, {
        maxItems: 131072,
        description:
          "Entries that are kept in the map: what others delete or change comes back. `0x…` of 1, 2, 4 or 8 bytes is a number, of any other size bytes in order.",
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    prune: flag("Removes entries that are not in initData. Otherwise what others add stays."),
  },
  { description: "The map, and what is in it.", rules: mapRules },
);

export const statusSchema = Type.Object(
  {
    state: Type.Optional(
      Type.Enum(["Pending", "Created", "Failed"], {
        description:
          "Pending: waits for something, reason says for what. Created: the map is there with its entries. Failed: it is not, reason says why.",
      }),
    ),
    reason: Type.Optional(Type.String({ description: "Why the state is what it is." })),
    pinPath: Type.Optional(Type.String({ description: "Where it is pinned for others." })),
    entryCount: Type.Optional(Type.Integer({ format: "int64", description: "Entries in it now." })),
    memoryUsage: Type.Optional(Type.Integer({ format: "int64", description: "Bytes of kernel memory it takes." })),
    node: Type.Optional(Type.String({ description: "The node that this status is of." })),
    ...commonStatus,
  },
  { description: "What became of it." },
);

export type EBPFMapSpec = Static<typeof specSchema>;
export type EBPFMapStatus = Static<typeof statusSchema>;

export interface EBPFMap extends KubeObject {
  readonly spec: EBPFMapSpec;
  readonly status?: EBPFMapStatus;
}
