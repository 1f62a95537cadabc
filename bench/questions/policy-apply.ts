import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { policy, type PolicyFeatureIntent, type PolicyIntent } from "@bpfleet/features";
import { assemblePlan, emptyPlan, type KnownHooks } from "@bpfleet/kernel";
import { mountBpffs, NodeKernel, unmount } from "@bpfleet/native";
import {
  addressAt,
  podsElsewhere,
  podsOfNode,
  policyFacts,
  policyObject,
  policyOfPod,
  type BenchPod,
} from "../policies.ts";
import { realise, timed } from "../realise.ts";
import { answer, median, quantile, type BenchQuestion, type BenchResult } from "../result.ts";

const podCount = 110;
const knownPods = 10_000;
const ruleCount = 12_500;
const peer = "nft -f";

export const question: BenchQuestion = {
  name: "policy.apply",
  asks: "how long from policies as values until they are in force on 110 pods: 12,500 rules, the edit of one policy, and other addresses of the pods that they speak of",
  async ask({ scratchDir, isQuick, progress }) {
    const bpffs = join(scratchDir, "policy-bpffs");
    mkdirSync(bpffs);
    await mountBpffs(bpffs);
    using node = new BenchNode(`bpfb${process.pid}-p`);
    const netns = `/run/netns/${node.netns}`;
    const kernel = await NodeKernel.open({ bpffsDir: bpffs, netns, loadObject: async () => policyObject });
    try {
      const facts = policyFacts(node.pods);
      const people = [...podsOfNode(node.pods), ...podsElsewhere(knownPods)];
      const memory = new Map();
      let known: KnownHooks | undefined;
      const inForce = async (
        policies: readonly PolicyFeatureIntent[],
        others: readonly PolicyFeatureIntent[] = people,
      ): Promise<number> =>
        timed(async () => {
          const plan = assemblePlan([policy.plan([...others, ...policies], facts, memory)]);
          known = await realise(kernel, plan, known);
        });
      const small = node.pods.map((pod, at) => policyOfPod(pod.interface, at, 1));
      progress(`first: ${Math.round(await inForce(small))} ms, with ${2 * podCount} hooks`);
      const edits = await timeEdits(node, small, inForce, isQuick ? 20 : 200);
      const many = await timeMany(node, small, inForce, scratchDir, isQuick ? 2 : 10);
      const addresses = await timeAddresses(node, small, inForce, isQuick ? 5 : 40);
      return [...edits, ...many, ...addresses];
    } finally {
      await realise(kernel, emptyPlan);
      await kernel.removeEverything();
      await unmount(bpffs);
    }
  },
};

type InForce = (policies: readonly PolicyIntent[], others?: readonly PolicyFeatureIntent[]) => Promise<number>;

/** One of the policies gets another rule. */
async function timeEdits(
  node: BenchNode,
  small: readonly PolicyIntent[],
  inForce: InForce,
  rounds: number,
): Promise<readonly BenchResult[]> {
  const [ours, theirs]: [number[], number[]] = [[], []];
  node.nft(["add table inet bench", "add chain inet bench forward { type filter hook forward priority 0; }"]);
  for (let round = 0; round < rounds; round++) {
    const at = round % podCount;
    const edited = small.with(at, policyOfPod(`p${at}`, 1000 + round, 2));
    ours.push(await inForce(edited));
    theirs.push(await timed(async () => node.nft([ruleOf(1000 + round)])));
  }
  return [
    answer("policy.apply.edit.p50-ms", "ms", median(ours), peer, median(theirs)),
    answer("policy.apply.edit.p99-ms", "ms", quantile(ours, 0.99), peer, quantile(theirs, 0.99), "<= 50 ms"),
  ];
}

/** In the place of small ones, with other rules each time. */
async function timeMany(
  node: BenchNode,
  small: readonly PolicyIntent[],
  inForce: InForce,
  scratchDir: string,
  rounds: number,
): Promise<readonly BenchResult[]> {
  const each = Math.ceil(ruleCount / podCount);
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const first = (at: number): number => (round * podCount + at) * each;
    const many = small.map((_, at) => policyOfPod(`p${at}`, first(at), each));
    ours.push(await inForce(many));
    await inForce(small);
    const file = join(scratchDir, "rules.nft");
    const rules = Array.from({ length: each * podCount }, (_, index) => ruleOf(first(0) + index));
    writeFileSync(file, `flush chain inet bench forward\n${rules.join("\n")}\n`);
    theirs.push(await timed(async () => node.nftFile(file)));
  }
  return [answer("policy.12500-rules.s", "s", median(ours) / 1000, peer, median(theirs) / 1000, "<= 2 s")];
}

/** Pods of other nodes get other addresses: one, and many that came while the one before was made. */
async function timeAddresses(
  node: BenchNode,
  small: readonly PolicyIntent[],
  inForce: InForce,
  rounds: number,
): Promise<readonly BenchResult[]> {
  const elsewhere = podsElsewhere(knownPods);
  let [slices, made] = [elsewhere, 0];
  const move = (count: number): readonly PolicyFeatureIntent[] => {
    slices = slices.map((slice, at) =>
      at < count / slice.addresses.length
        ? { ...slice, version: String(made + 2), addresses: slice.addresses.map((_, index) => moved(index, count)) }
        : slice,
    );
    made += count;
    return [...podsOfNode(node.pods), ...slices];
  };
  const moved = (index: number, count: number): string =>
    index < count ? addressAt(1_000_000 + made + index) : addressAt(900_000 + index);
  node.nft(["add set inet bench pods { type ipv4_addr; }"]);
  const element = (at: number): string => `add element inet bench pods { ${addressAt(1_000_000 + at)} }`;
  const rate = async (count: number, name: string): Promise<BenchResult> => {
    const [ours, theirs]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      const first = made;
      ours.push(await inForce(small, move(count)));
      theirs.push(
        await timed(async () => node.nft(Array.from({ length: count }, (_, index) => element(first + index)))),
      );
    }
    const perSecond = (times: readonly number[]): number => (1000 * count) / median(times);
    return answer(name, "1/s", perSecond(ours), peer, perSecond(theirs));
  };
  return [await rate(1, "policy.address-updates.one-by-one-per-s"), await rate(1000, "policy.address-updates.per-s")];
}

function ruleOf(number: number): string {
  const from = `${100 + ((number >> 16) & 63)}.${(number >> 8) & 255}.${number & 255}.0/24`;
  return `add rule inet bench forward ip saddr ${from} tcp dport ${1024 + (number % 60_000)} accept`;
}

/** A namespace with the node's ends of so many pods. */
class BenchNode implements Disposable {
  readonly netns: string;
  readonly pods: readonly BenchPod[];
  readonly #remove = (): void => this[Symbol.dispose]();

  constructor(netns: string) {
    this.netns = netns;
    process.on("exit", this.#remove);
    execFileSync("ip", ["netns", "add", netns]);
    const names = Array.from({ length: podCount }, (_, at) => `p${at}`);
    const links = names
      .map((name) => `link add ${name} type veth peer name far-${name}\nlink set ${name} up\n`)
      .join("");
    execFileSync("ip", ["-n", netns, "-batch", "-"], { input: links });
    const listed = execFileSync("ip", ["-n", netns, "-j", "link"], { encoding: "utf8", maxBuffer: 16 << 20 });
    const found = JSON.parse(listed) as { readonly ifname: string; readonly ifindex: number }[];
    const byName = new Map(found.map(({ ifname, ifindex }) => [ifname, ifindex]));
    this.pods = names.map((name) => ({ interface: name, ifindex: byName.get(name) ?? 0 }));
  }

  nft(commands: readonly string[]): void {
    execFileSync("ip", ["netns", "exec", this.netns, "nft", "-f", "-"], { input: `${commands.join("\n")}\n` });
  }

  nftFile(file: string): void {
    execFileSync("ip", ["netns", "exec", this.netns, "nft", "-f", file]);
  }

  [Symbol.dispose](): void {
    process.off("exit", this.#remove);
    try {
      execFileSync("ip", ["netns", "del", this.netns], { stdio: "ignore" });
    } catch {
      // It was never made.
    }
  }
}
