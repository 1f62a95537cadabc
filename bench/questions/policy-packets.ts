import { LoadedPolicy } from "@bpfleet/features/testing/kernel";
import { BpfMap, type BpfProgram } from "@bpfleet/native";
import { interleave, timingOf } from "../interleave.ts";
import { flags, tableOf, tcpFrame } from "../policy.ts";
import { compilePeer, loadProgram, testRunContender, type Loaded } from "../programs.ts";
import { answer, type BenchContext, type BenchQuestion } from "../result.ts";

const sizes = [10, 1000, 10_000] as const;
const flowCount = 65_536;

export const question: BenchQuestion = {
  name: "policy.packets",
  asks: "what policy costs a packet of a known flow, the first one of a flow in a full table, and a repeated SYN, with 10, 1,000 and 10,000 rules (BPF_PROG_TEST_RUN)",
  async ask(context) {
    await using open = new AsyncDisposableStack();
    const empty = open.use(await loadProgram(compilePeer(context, "verdict-tc"), "next_all"));
    const repeat = context.isQuick ? 20_000 : 200_000;
    const first = tcpFrame(7, flags.ack);
    const handedOn = open.use(await otherFlow(context, empty.program));
    const contenders = [
      testRunContender("empty", empty.program, first, repeat),
      testRunContender("handed on", handedOn.program, first, repeat),
    ];
    for (const [at, size] of sizes.entries()) {
      context.progress(`${size} rules`);
      const policy = open.use(await LoadedPolicy.load(flowCount));
      await policy.put(tableOf(size, BigInt(at + 1)));
      const rule = size - 3;
      for (const each of [flags.syn, flags.ack]) {
        const { verdict, reason } = await policy.run("ingress", tcpFrame(rule, each));
        if (verdict !== "pass")
          throw new Error(`benchmark policy.packets: a packet that rule ${rule} allows is ${reason}`);
      }
      const program = policy.programs.ingress;
      const opens = open.use(await otherFlow(context, program));
      await opens.program.testRun({ data: tcpFrame(rule, flags.syn), repeat: 2 * flowCount });
      const { length: known } = await policy.flows(4);
      if (known < flowCount / 2) throw new Error(`benchmark policy.packets: ${known} flows were opened`);
      contenders.push(
        testRunContender(`new ${size}`, opens.program, tcpFrame(rule, flags.syn), repeat),
        testRunContender(`repeated ${size}`, program, tcpFrame(rule, flags.syn), repeat),
        testRunContender(`established ${size}`, program, tcpFrame(rule, flags.ack), repeat),
      );
    }
    const timings = await interleave(contenders, context.isQuick ? 5 : 41);
    const floor = timingOf(timings, "empty").min;
    const handed = timingOf(timings, "handed on").min;
    const over = (name: string): number => timingOf(timings, name).min - floor;
    const opening = (size: number): number => timingOf(timings, `new ${size}`).min - handed;
    const [few, , most] = sizes;
    return [
      answer("policy.established.ns-over-empty", "ns", over(`established ${most}`), "empty program", floor),
      answer("policy.new-flow.ns-over-empty", "ns", opening(most), "empty program", floor),
      ...sizes.flatMap((size) => [
        answer(`policy.rules-${size}.established.ns`, "ns", over(`established ${size}`), "empty program", floor),
        answer(`policy.rules-${size}.new-flow.ns`, "ns", opening(size), "empty program", floor),
        answer(`policy.rules-${size}.repeated-syn.ns`, "ns", over(`repeated ${size}`), "empty program", floor),
      ]),
      answer("policy.rules-10000-over-10.ratio", "times", opening(most) / opening(few), "flat", 1, "flat: 1"),
    ];
  },
};

/** Each run is the first packet of another flow: what hands it on is no part of the answer. */
async function otherFlow(context: BenchContext, program: BpfProgram): Promise<Loaded> {
  const next = BpfMap.create({ type: "prog_array", name: "next", keySize: 4, valueSize: 4, maxEntries: 1 });
  const loaded = await loadProgram(compilePeer(context, "other-flow"), "other_flow", { reuseMaps: { next } });
  next.setRaw(u32(0), u32(program.fd));
  return {
    ...loaded,
    async [Symbol.asyncDispose]() {
      await loaded[Symbol.asyncDispose]();
      next.close();
    },
  };
}

const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
