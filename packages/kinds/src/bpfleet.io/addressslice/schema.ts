import type { Static } from "typebox";
import { addressRule } from "../../address/rules.ts";
import type { KubeObject } from "../../kind.ts";
import { int32 } from "../../schema/fields.ts";
import { neverChanges } from "../../schema/json-schema.ts";
import type { Rule } from "../../schema/json-schema.ts";
import { Type } from "../../schema/type.ts";

/** Most addresses of one slice. Slices that change are kept far smaller: see `sliceTarget`. */
export const maxSliceAddresses = 1000;

const atomic = { "x-kubernetes-list-type": "atomic" } as const;

const portSchema = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 63, description: "Name of the port." }),
  protocol: Type.Enum(["TCP", "UDP", "SCTP"], { default: "TCP", description: "Protocol of the port." }),
  port: int32({ minimum: 1, maximum: 65535, description: "Its number." }),
});

const labelSetSchema = Type.Object(
  {
    labels: Type.Record(Type.String(), Type.String({ maxLength: 63 }), {
      description: "Labels of the pods, or of the node.",
    }),
    serviceAccount: Type.Optional(
      Type.String({ minLength: 1, maxLength: 253, description: "Service account of the pods." }),
    ),
    ports: Type.Optional(
      Type.Array(portSchema, { maxItems: 64, description: "Ports that the containers of the pods name.", ...atomic }),
    ),
  },
  { description: "What pods of one make have in common." },
);

const addressSchema = Type.Object({
  ip: Type.String({ minLength: 2, maxLength: 45, rules: [addressRule], description: "The address." }),
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 253, description: "Name of the pod, for people." })),
  set: int32({ minimum: 0, maximum: maxSliceAddresses - 1, description: "Place of its labels in labelSets, from 0." }),
  node: int32({ minimum: 0, maximum: maxSliceAddresses - 1, description: "Place of its node in nodes, from 0." }),
});

const rules: readonly Rule[] = [
  {
    cel: "self.of != 'Pod' || has(self.__namespace__)",
    holds: (self: AddressSliceSpec) => self.of !== "Pod" || self.namespace !== undefined,
    reads: ["/of", "/namespace"],
    field: "/namespace",
    code: "required",
    message: "is required for addresses of pods",
  },
  {
    cel: "self.of == 'Pod' || !has(self.__namespace__)",
    holds: (self: AddressSliceSpec) => self.of === "Pod" || self.namespace === undefined,
    reads: ["/of", "/namespace"],
    field: "/namespace",
    code: "forbidden",
    message: "must be left out for addresses of nodes",
  },
  {
    cel: "self.addresses.all(address, address.set < size(self.labelSets))",
    holds: (self: AddressSliceSpec) => self.addresses.every(({ set }) => set < self.labelSets.length),
    reads: [],
    shapes: ["/addresses", "/labelSets"],
    field: "/addresses",
    code: "invalid",
    message: "must have each set be a place in labelSets",
  },
  {
    cel: "self.addresses.all(address, address.node < size(self.nodes))",
    holds: (self: AddressSliceSpec) => self.addresses.every(({ node }) => node < self.nodes.length),
    reads: [],
    shapes: ["/addresses", "/nodes"],
    field: "/addresses",
    code: "invalid",
    message: "must have each node be a place in nodes",
  },
];

export const specSchema = Type.Object(
  {
    of: Type.Enum(["Pod", "Node"], {
      description: "What the addresses are of: pods that have an address of their own, or nodes.",
      changeRules: [neverChanges],
    }),
    namespace: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 63,
        description: "The namespace of all the pods of the slice.",
        changeRules: [neverChanges],
      }),
    ),
    nodes: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
      maxItems: maxSliceAddresses,
      description: "Names of nodes, each once.",
      ...atomic,
    }),
    labelSets: Type.Array(labelSetSchema, {
      maxItems: maxSliceAddresses,
      description: "Labels, service account and named ports, each combination once.",
      ...atomic,
    }),
    addresses: Type.Array(addressSchema, {
      maxItems: maxSliceAddresses,
      description: "The addresses, each once.",
      ...atomic,
    }),
  },
  { description: "Addresses, and what they are.", rules },
);

export type AddressSliceSpec = Static<typeof specSchema>;
export type AddressSliceEntry = Static<typeof addressSchema>;
export type AddressLabelSet = Static<typeof labelSetSchema>;

export interface AddressSlice extends KubeObject {
  readonly spec: AddressSliceSpec;
}
