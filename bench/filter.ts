import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { filter, type BlacklistEntry, type FilterIntent } from "@bpfleet/features";
import { assemblePlan, type NodePlan } from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import { BpfMap } from "@bpfleet/native";
import { loadProgram, type Loaded } from "./programs.ts";
import { renderAddress, type BenchPrefix } from "./prefixes.ts";

/** The filter as `make setup` builds it. */
export const filterObject = readFileSync(join(import.meta.dirname, "..", "build", "bpf", "filter.bpf.o"));
const owner = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "bench" };
const origin = { object: owner, path: "" };
const facts = nodeFacts({
  nodeName: "bench",
  objects: { filter: { digest: createHash("sha256").update(filterObject).digest("hex") } },
  interfaces: [interfaceFacts("eth0")],
});

export interface FilterWish {
  readonly prefixes: readonly BenchPrefix[];
  readonly packetsPerSecond?: number | undefined;
  readonly isStateful?: boolean | undefined;
}

export function filterPlan(wish: FilterWish): NodePlan {
  const entries = wish.prefixes.map(({ address, length }): BlacklistEntry => ({
    prefix: { family: 4, length, bytes: Uint8Array.from([24, 16, 8, 0], (shift) => (address >>> shift) & 0xff) },
    text: `${renderAddress(address)}/${length}`,
    origin,
  }));
  const intent: FilterIntent = {
    feature: "filter",
    origin,
    at: { hook: "xdp", interface: "eth0" },
    priority: 10,
    ...(entries.length > 0 && { blacklist: { entries, origin } }),
    ...(wish.packetsPerSecond !== undefined && { rateLimit: { packetsPerSecond: wish.packetsPerSecond, origin } }),
    isStateful: wish.isStateful ?? false,
    maps: [],
  };
  return assemblePlan([filter.plan([intent], facts)]);
}

/** The product's own XDP program for the wish, loaded as a node loads it. */
export async function loadFilter(wish: FilterWish): Promise<Loaded> {
  const plan = filterPlan(wish);
  const spec = plan.programs.find(({ entry }) => entry === "filter_xdp");
  if (!spec) throw new TypeError("the plan has no XDP program");
  await using maps = new AsyncDisposableStack();
  const reuseMaps: Record<string, BpfMap> = {};
  for (const [name, key] of Object.entries(spec.maps)) {
    const planned = plan.maps.find((map) => map.key === key);
    if (!planned) throw new TypeError(`the plan has no map ${key}`);
    const map = maps.use(BpfMap.create({ ...planned.definition, name: planned.name }));
    if (planned.contents.kind === "sealed" && planned.contents.entries.count > 0) {
      const { keys, values, count } = planned.contents.entries;
      await map.updateBatch(keys, values, count);
    }
    reuseMaps[name] = map;
  }
  return loadProgram(filterObject, "filter_xdp", { reuseMaps, globals: spec.globals });
}
