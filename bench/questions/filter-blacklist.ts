import { buildChain, type BpfMap } from "@bpfleet/native";
import { filterPlan, loadFilter } from "../filter.ts";
import { interleave, timingOf, type Contender } from "../interleave.ts";
import {
  benchPrefixes,
  listedSources,
  packSources,
  sourceCount,
  unlistedSources,
  type BenchPrefix,
} from "../prefixes.ts";
import { compilePeer, loadProgram, testRunContender, udpFrame, type Loaded } from "../programs.ts";
import { answer, type BenchContext, type BenchQuestion, type BenchResult } from "../result.ts";

const XDP_PASS = 2;
const sizes: readonly (readonly [label: string, count: number])[] = [
  ["10", 10],
  ["1k", 1_000],
  ["100k", 100_000],
];
const targets: Readonly<Record<string, string>> = { "100k.hot": "<= 60 ns", "100k.random": "<= 150 ns" };

export const question: BenchQuestion = {
  name: "filter.blacklist",
  asks: "what the blacklist adds to an empty XDP_DROP program, for one and for 4,096 sources, beside the kernel's LPM trie (BPF_PROG_TEST_RUN)",
  async ask(context) {
    const results: BenchResult[] = [];
    for (const [label, count] of sizes) {
      context.progress(`${label} prefixes`);
      results.push(...(await askSize(context, label, benchPrefixes(count))));
    }
    return results;
  },
};

async function askSize(context: BenchContext, label: string, prefixes: readonly BenchPrefix[]): Promise<BenchResult[]> {
  await using open = new AsyncDisposableStack();
  const started = performance.now();
  filterPlan({ prefixes });
  const planMs = performance.now() - started;
  const verdicts = compilePeer(context, "verdict");
  const empty = open.use(await loadProgram(verdicts, "drop_all"));
  const lpm = open.use(await loadProgram(compilePeer(context, "lpm"), "drop_listed"));
  await fillTrie(lpm, prefixes);
  const ours = open.use(await loadFilter({ prefixes }));

  const repeat = context.isQuick ? 100_000 : 1_000_000;
  const listed = listedSources(prefixes);
  const hot = udpFrame(bytesOf(listed[0] ?? 0));
  const miss = udpFrame(bytesOf(unlistedSources()[0] ?? 0));
  await expectVerdicts(ours, hot, miss);
  await expectVerdicts(lpm, hot, miss);
  const contenders: Contender[] = [
    testRunContender("empty", empty.program, hot, repeat),
    testRunContender("hot ours", ours.program, hot, repeat),
    testRunContender("hot lpm", lpm.program, hot, repeat),
    testRunContender("miss ours", ours.program, miss, repeat),
    testRunContender("miss lpm", lpm.program, miss, repeat),
  ];
  for (const [name, addresses] of [
    ["random", listed],
    ["random-miss", unlistedSources()],
  ] as const) {
    for (const [who, member] of [
      ["empty", empty],
      ["ours", ours],
      ["lpm", lpm],
    ] as const) {
      const varied = open.use(await varySources(verdicts, member, addresses));
      contenders.push(testRunContender(`${name} ${who}`, varied.program, hot, repeat));
    }
  }
  const timings = await interleave(contenders, context.isQuick ? 3 : 11);
  const over = (name: string, who: string): number => {
    const floor = name.startsWith("random") ? `${name} empty` : "empty";
    return timingOf(timings, `${name} ${who}`).min - timingOf(timings, floor).min;
  };
  const results = ["hot", "random", "miss", "random-miss"].map((name) =>
    answer(
      `filter.blacklist.${label}.${name}.ns-over-empty`,
      "ns",
      over(name, "ours"),
      "LPM trie over empty",
      over(name, "lpm"),
      targets[`${label}.${name}`],
    ),
  );
  results.push(
    answer(`filter.blacklist.${label}.plan-ms`, "ms", planMs, "entries / 1000", prefixes.length / 1000, null),
  );
  return results;
}

/** A chain whose first member draws another source for each packet and whose second is the contender. */
async function varySources(
  verdicts: Uint8Array,
  member: Loaded,
  addresses: readonly number[],
): Promise<AsyncDisposable & { program: Loaded["program"] }> {
  const open = new AsyncDisposableStack();
  const vary = open.use(await loadProgram(verdicts, "vary_source"));
  const { keys, values } = packSources(addresses);
  using sources = vary.object.map("sources");
  await sources.updateBatch(keys, values, sourceCount);
  const members = [vary.part("inline", [XDP_PASS]), member.part("inline", [XDP_PASS])];
  const chain = open.use(await buildChain({ hook: "xdp", name: "bench_vary", members }));
  return { program: chain.program, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

async function fillTrie(lpm: Loaded, prefixes: readonly BenchPrefix[]): Promise<void> {
  const keys = new Uint8Array(prefixes.length * 8);
  const view = new DataView(keys.buffer);
  for (const [at, { address, length }] of prefixes.entries()) {
    view.setUint32(at * 8, length, true);
    view.setUint32(at * 8 + 4, address, false);
  }
  const values = new Uint8Array(new Uint32Array(prefixes.length).fill(1).buffer);
  using map: BpfMap = lpm.object.map("prefixes");
  await map.updateBatch(keys, values, prefixes.length);
}

/** A contender that does not drop what it must is no contender. */
async function expectVerdicts({ program }: Loaded, hit: Uint8Array, miss: Uint8Array): Promise<void> {
  const verdicts = [await program.testRun({ data: hit }), await program.testRun({ data: miss })].map(
    ({ retval }) => retval,
  );
  if (verdicts[0] !== 1 || verdicts[1] !== XDP_PASS)
    throw new Error(`benchmark ${program.info.name}: verdicts ${verdicts.join(", ")} instead of 1, 2`);
}

function bytesOf(address: number): number[] {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff);
}
