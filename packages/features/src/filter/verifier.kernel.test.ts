import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { test } from "node:test";
import type { MapSpec, ProgramSpec } from "@bpfleet/kernel";
import { filterPrograms } from "./generated/filter.ts";
import type { FilterIntent, Prefix } from "./intent.ts";
import { planFilter } from "./plan.ts";
import { origin } from "./testing/declared-filter.ts";
import { LoadedFilter, TestMaps, facts } from "./testing/loaded-filter.ts";

/** Kernel (major.minor) → program and declaration → instructions that the verifier followed. */
type Recorded = { [kernel: string]: { [program: string]: number } };

const file = new URL("./testdata/verifier.json", import.meta.url);
const kernel = release().split(".").slice(0, 2).join(".");
/** Growth by more than this must be accepted by UPDATE_GOLDEN=1. */
const tolerance = 1.1;
/** Of the kernel's million, for kernels without a record. */
const most = 100_000;

const everywhere: readonly FilterIntent["at"][] = [
  { hook: "xdp", interface: "v0" },
  { hook: "tc-ingress", interface: "v0" },
  { hook: "tc-egress", interface: "v0" },
  { hook: "cgroup", pods: [{ pod: "p", namespace: "default", path: "/p" }], directions: ["ingress", "egress"] },
];

/** So many and so mixed that lists are as deep as they get. */
const prefixes: readonly Prefix[] = ([4, 6] as const).flatMap((family) =>
  Array.from({ length: 2000 }, (_, at): Prefix => {
    const bytes = Uint8Array.from(
      { length: family === 4 ? 4 : 16 },
      (_, byte) => Math.imul(at + 1, 0x9e3779b1 + byte * 77) >>> 24,
    );
    const length = 8 + (at % (bytes.length * 8 - 7));
    return {
      family,
      length,
      bytes: bytes.map((value, byte) => value & (0xff00 >> Math.max(0, Math.min(8, length - byte * 8)))),
    };
  }),
);
const blacklist = { origin, entries: prefixes.map((prefix) => ({ prefix, text: "x", origin })) };
const liveMaps = [4, 4, 6, 6].map((family, at) => ({
  mapKey: `maps/default/map${at}`,
  family: family as 4 | 6,
  origin,
}));

const declarations: Readonly<{ [name: string]: Partial<FilterIntent> }> = {
  nothing: {},
  list: { blacklist },
  limit: { rateLimit: { packetsPerSecond: 1000, origin }, isStateful: true },
  everything: {
    blacklist,
    rateLimit: { packetsPerSecond: 1000, origin },
    isStateful: true,
    maps: liveMaps,
    mark: { skb: { value: 1, mask: 1 }, dscp: 46, priorityFromDscp: true, origin },
  },
};

async function measure(
  at: FilterIntent["at"],
  change: Partial<FilterIntent>,
  into: Map<string, number>,
  name: string,
): Promise<void> {
  const intent: FilterIntent = { feature: "filter", origin, at, priority: 10, isStateful: false, maps: [], ...change };
  const plan = planFilter([intent], { ...facts, cgroups: { "/p": "1" } });
  using maps = new TestMaps();
  for (const { mapKey, family } of liveMaps) await maps.get(liveSpec(mapKey, family));
  for (const spec of plan.programs) {
    await using loaded = await LoadedFilter.load(spec satisfies ProgramSpec, plan, maps);
    into.set(`${spec.entry} ${name}`, loaded.verifiedInstructions);
  }
}

function liveSpec(key: string, family: 4 | 6): MapSpec {
  const keySize = family === 4 ? 8 : 20;
  return {
    key,
    name: "live",
    definition: { type: "lpm_trie", keySize, valueSize: 4, maxEntries: 1, flags: 1 },
    contents: { kind: "live" },
  };
}

test("the verifier follows no program of the filter much further than recorded", async () => {
  const measured = new Map<string, number>();
  for (const at of everywhere) {
    for (const [name, change] of Object.entries(declarations)) await measure(at, change, measured, name);
  }
  for (const entry of Object.keys(filterPrograms)) {
    assert.ok(
      [...measured.keys()].some((name) => name.startsWith(entry)),
      `${entry} was loaded`,
    );
  }
  const record = JSON.parse(readFileSync(file, "utf8")) as Recorded;
  if (process.env["UPDATE_GOLDEN"] === "1") {
    record[kernel] = Object.fromEntries([...measured].toSorted(([a], [b]) => (a < b ? -1 : 1)));
    writeFileSync(file, `${JSON.stringify(record, undefined, 2)}\n`);
  }
  const recorded = record[kernel];
  for (const [name, instructions] of measured) {
    const limit = recorded === undefined ? most : Math.floor((recorded[name] ?? 0) * tolerance);
    assert.ok(
      instructions <= limit,
      `${name}: ${instructions} instructions, ${limit} at most; accept with UPDATE_GOLDEN=1`,
    );
  }
});
