import { buildChain, createChainCounters } from "@bpfleet/native";
import type { MemberMode } from "@bpfleet/kernel";
import { interleave, timingOf, type Contender } from "../interleave.ts";
import { compilePeer, loadProgram, testRunContender, udpFrame } from "../programs.ts";
import { answer, type BenchQuestion, type BenchResult } from "../result.ts";

const lengths = [1, 2, 5, 10, 20, 32];
const XDP_PASS = 2;

export const question: BenchQuestion = {
  name: "chain",
  asks: "what each further XDP program on one interface costs, inlined and as a stub, with exact counters (BPF_PROG_TEST_RUN)",
  async ask(context) {
    await using open = new AsyncDisposableStack();
    const elf = compilePeer(context, "verdict");
    const alone = open.use(await loadProgram(elf, "pass_all"));
    const repeat = context.isQuick ? 100_000 : 1_000_000;
    const frame = udpFrame([192, 168, 1, 10]);
    const contenders: Contender[] = [testRunContender("alone", alone.program, frame, repeat)];
    for (const mode of ["inline", "stub"] as const) {
      for (const length of lengths) {
        const members = await Promise.all(Array.from({ length }, () => loadProgram(elf, "pass_all")));
        for (const member of members) open.use(member);
        const counters = open.use(createChainCounters("xdp", length, "bench_chain"));
        const chain = open.use(
          await buildChain({
            hook: "xdp",
            name: `bench_${mode}`,
            members: members.map((member) => member.part(mode, [XDP_PASS])),
            counters,
          }),
        );
        contenders.push(testRunContender(`${mode} ${length}`, chain.program, frame, repeat));
      }
    }
    const timings = await interleave(contenders, context.isQuick ? 3 : 15);
    const single = timingOf(timings, "alone").min;
    const perProgram = (mode: MemberMode): number =>
      slope(lengths.map((length) => [length, timingOf(timings, `${mode} ${length}`).min]));
    const results: BenchResult[] = [
      answer("chain.inline.ns-per-program", "ns", perProgram("inline"), "one program alone", single, "<= 1 ns"),
      answer("chain.stub.ns-per-program", "ns", perProgram("stub"), "one program alone", single, "<= 12 ns"),
    ];
    for (const mode of ["inline", "stub"] as const) {
      for (const length of lengths) {
        const value = timingOf(timings, `${mode} ${length}`).min;
        results.push(
          answer(`chain.${mode}.${length}-programs.ns-per-packet`, "ns", value, "one program alone", single),
        );
      }
    }
    return results;
  },
};

/** Least squares: what one more of x adds to y. */
function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
}
