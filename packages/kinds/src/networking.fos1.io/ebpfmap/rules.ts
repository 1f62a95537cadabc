import type { Rule } from "../../schema/json-schema.ts";
import type { EBPFMapSpec, EBPFMapType } from "./schema.ts";

/** A rule about maps of some types. */
function ofTypes(
  types: readonly EBPFMapType[],
  cel: string,
  holds: (self: EBPFMapSpec) => boolean,
  fault: Pick<Rule, "field" | "code" | "message">,
): Rule {
  const [only] = types;
  const isOther =
    types.length === 1 ? `self.type != '${only}'` : `!(self.type in [${types.map((type) => `'${type}'`).join(", ")}])`;
  return {
    cel: `${isOther} || ${cel}`,
    holds: (self: EBPFMapSpec) => !types.includes(self.type) || holds(self),
    reads: fault.field === "/initData" ? ["/type"] : ["/type", fault.field],
    ...fault,
  };
}

function sizeIs(types: readonly EBPFMapType[], field: "keySize" | "valueSize", size: number, message: string): Rule {
  return ofTypes(types, `self.?${field}.orValue(${size}) == ${size}`, (self) => (self[field] ?? size) === size, {
    field: `/${field}`,
    code: "invalid",
    message,
  });
}

function sizeRequired(types: readonly EBPFMapType[], field: "keySize" | "valueSize"): Rule {
  return ofTypes(types, `self.?${field}.orValue(0) > 0`, (self) => (self[field] ?? 0) > 0, {
    field: `/${field}`,
    code: "required",
    message: `is required for type ${types.join(", ")}`,
  });
}

export const pinPathRule: Rule = {
  cel: "!self.split('/').exists(step, step == '.' || step == '..')",
  holds: (self: string) => !self.split("/").some((step) => step === "." || step === ".."),
  reads: [""],
  field: "",
  code: "invalid",
  message: "must not contain . or ..",
};

export const mapRules: readonly Rule[] = [
  sizeRequired(["hash", "lru_hash", "percpu_hash", "lpm_trie"], "keySize"),
  sizeRequired(["hash", "lru_hash", "percpu_hash", "array", "percpu_array", "lpm_trie", "stack", "queue"], "valueSize"),
  sizeIs(["array", "percpu_array"], "keySize", 4, "must be 4 for arrays: the key is the index"),
  sizeIs(["stack", "queue"], "keySize", 0, "must be left out for type stack and queue: they have no keys"),
  sizeIs(["ringbuf"], "keySize", 0, "must be left out for type ringbuf"),
  sizeIs(["ringbuf"], "valueSize", 0, "must be left out for type ringbuf"),
  sizeIs(["perf_event_array"], "keySize", 4, "must be 4 for type perf_event_array: the key is the CPU"),
  sizeIs(["perf_event_array"], "valueSize", 4, "must be 4 for type perf_event_array: the value is a descriptor"),
  ofTypes(
    ["lpm_trie"],
    "self.?keySize.orValue(8) >= 5 && self.?keySize.orValue(8) <= 260",
    (self) => (self.keySize ?? 8) >= 5 && (self.keySize ?? 8) <= 260,
    {
      field: "/keySize",
      code: "invalid",
      message: "must be 5 to 260 for type lpm_trie: 4 bytes of prefix length and the data, 8 for IPv4, 20 for IPv6",
    },
  ),
  ofTypes(
    ["stack", "queue", "ringbuf", "perf_event_array"],
    "self.?initData.orValue([]).size() == 0",
    (self) => (self.initData ?? []).length === 0,
    {
      field: "/initData",
      code: "forbidden",
      message: "must be left out for this type: it has no entries to fill",
    },
  ),
  {
    cel: "self.?initData.orValue([]).size() <= self.maxEntries",
    holds: (self: EBPFMapSpec) => (self.initData ?? []).length <= self.maxEntries,
    reads: ["/maxEntries"],
    field: "/initData",
    code: "invalid",
    message: "must not have more entries than maxEntries",
  },
];
