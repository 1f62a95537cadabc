import { loadFilter } from "../filter.ts";
import { interleave, timingOf } from "../interleave.ts";
import { benchPrefixes, unlistedSources } from "../prefixes.ts";
import { compilePeer, loadProgram, testRunContender, udpFrame } from "../programs.ts";
import { answer, type BenchQuestion } from "../result.ts";

/** So high that no packet of the test meets the limit: the bucket is consulted and written all the same. */
const unreachedRate = 4_000_000_000;

export const question: BenchQuestion = {
  name: "filter.whole",
  asks: "what the whole filter costs a packet that passes: a list of 1,000, a rate limit, replies (BPF_PROG_TEST_RUN)",
  async ask(context) {
    await using open = new AsyncDisposableStack();
    const prefixes = benchPrefixes(1_000);
    const repeat = context.isQuick ? 100_000 : 1_000_000;
    const source = unlistedSources()[0] ?? 0;
    const frame = udpFrame([24, 16, 8, 0].map((shift) => (source >>> shift) & 0xff));
    const empty = open.use(await loadProgram(compilePeer(context, "verdict"), "pass_all"));
    const wishes = [
      ["blacklist", { prefixes }],
      ["blacklist-and-limit", { prefixes, packetsPerSecond: unreachedRate }],
      ["blacklist-limit-and-replies", { prefixes, packetsPerSecond: unreachedRate, isStateful: true }],
    ] as const;
    const contenders = [testRunContender("empty", empty.program, frame, repeat)];
    for (const [name, wish] of wishes) {
      const loaded = open.use(await loadFilter(wish));
      const { retval } = await loaded.program.testRun({ data: frame });
      if (retval !== 2) throw new Error(`benchmark filter.whole.${name}: verdict ${retval} instead of XDP_PASS`);
      contenders.push(testRunContender(name, loaded.program, frame, repeat));
    }
    const timings = await interleave(contenders, context.isQuick ? 3 : 11);
    const floor = timingOf(timings, "empty").min;
    return wishes.map(([name]) =>
      answer(`filter.whole.${name}.ns-per-packet`, "ns", timingOf(timings, name).min, "empty program", floor),
    );
  },
};
