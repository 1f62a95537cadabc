import { LoadedPolicy } from "@bpfleet/features/testing/kernel";
import { interleave, timingOf } from "../interleave.ts";
import { flags, tableOf, tcpFrame } from "../policy.ts";
import { compilePeer, loadProgram, testRunContender } from "../programs.ts";
import { answer, type BenchQuestion } from "../result.ts";

const sizes = [10, 1000, 10_000] as const;

export const question: BenchQuestion = {
  name: "policy.packets",
  asks: "what policy costs a packet of a known flow, and one that opens a flow, with 10, 1,000 and 10,000 rules (BPF_PROG_TEST_RUN)",
  async ask(context) {
    await using open = new AsyncDisposableStack();
    const empty = open.use(await loadProgram(compilePeer(context, "verdict-tc"), "next_all"));
    const repeat = context.isQuick ? 20_000 : 200_000;
    const first = tcpFrame(7, flags.ack);
    const contenders = [testRunContender("empty", empty.program, first, repeat)];
    for (const [at, size] of sizes.entries()) {
      context.progress(`${size} rules`);
      const policy = open.use(await LoadedPolicy.load(65_536));
      await policy.put(tableOf(size, BigInt(at + 1)));
      const rule = size - 3;
      for (const each of [flags.syn, flags.ack]) {
        const { verdict, reason } = await policy.run("ingress", tcpFrame(rule, each));
        if (verdict !== "pass")
          throw new Error(`benchmark policy.packets: a packet that rule ${rule} allows is ${reason}`);
      }
      const program = policy.programs.ingress;
      contenders.push(
        testRunContender(`established ${size}`, program, tcpFrame(rule, flags.ack), repeat),
        testRunContender(`new ${size}`, program, tcpFrame(rule, flags.syn), repeat),
      );
    }
    const timings = await interleave(contenders, context.isQuick ? 5 : 41);
    const floor = timingOf(timings, "empty").min;
    const over = (name: string): number => timingOf(timings, name).min - floor;
    const [few, , most] = sizes;
    return [
      answer("policy.established.ns-over-empty", "ns", over(`established ${most}`), "empty program", floor),
      answer("policy.new-flow.ns-over-empty", "ns", over(`new ${most}`), "empty program", floor),
      ...sizes.flatMap((size) => [
        answer(`policy.rules-${size}.established.ns`, "ns", over(`established ${size}`), "empty program", floor),
        answer(`policy.rules-${size}.new-flow.ns`, "ns", over(`new ${size}`), "empty program", floor),
      ]),
      answer(
        "policy.rules-10000-over-10.ratio",
        "times",
        over(`new ${most}`) / over(`new ${few}`),
        "flat",
        1,
        "flat: 1",
      ),
    ];
  },
};
