import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BpfMap } from "@bpfleet/native";
import { loadFilter } from "../filter.ts";
import { benchPrefixes, listedSources, renderAddress, type BenchPrefix } from "../prefixes.ts";
import { compilePeer, loadProgram, type Loaded } from "../programs.ts";
import { answer, median, type BenchContext, type BenchQuestion, type BenchResult } from "../result.ts";
import { VethPair } from "../veth-pair.ts";

const many = 100_000;
/** xdp-filter knows addresses, not prefixes, and a process sets each: fewer of them, loaded by its map. */
const xdpFilterAddresses = 10_000;
const xdpFilterObject = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_ip.o";
/** MAP_FLAG_SRC of xdp-filter's common_kern_user.h: the address is matched as a source. */
const xdpFilterMatchSource = 1n;

interface Peer {
  readonly name: string;
  /** Sources that this peer drops; one, and 4,096. */
  readonly sources: readonly number[];
  /** In force for the time of one delivery. */
  enforce(pair: VethPair): Promise<AsyncDisposable>;
}

export const question: BenchQuestion = {
  name: "filter.veth",
  asks: "how many packets a second a veth pair drops by a blacklist of 100,000 prefixes, and what each costs the receiving CPU, beside xdp-filter, nftables and ipset",
  async ask(context) {
    compilePeer(context, "generate");
    await using open = new AsyncDisposableStack();
    const prefixes = benchPrefixes(many);
    const listed = listedSources(prefixes);
    const verdicts = compilePeer(context, "verdict");
    const peers: Peer[] = [
      xdpPeer("XDP_DROP alone", open.use(await loadProgram(verdicts, "drop_all")), listed),
      xdpPeer("bpfleet filter", open.use(await loadFilter({ prefixes })), listed),
    ];
    if (existsSync(xdpFilterObject)) {
      const addresses = listed.slice(0, xdpFilterAddresses);
      const loaded = open.use(await loadProgram(readFileSync(xdpFilterObject), "xdpfilt_alw_ip"));
      await fillXdpFilter(loaded, addresses);
      peers.push(xdpPeer("xdp-filter (4,096 addresses)", loaded, addresses));
    }
    if (isThere("nft"))
      peers.push(commandPeer("nftables set at ingress", listed, (pair) => enforceNft(pair, prefixes, context)));
    if (isThere("ipset") && isThere("iptables"))
      peers.push(commandPeer("iptables and ipset", listed, (pair) => enforceIpset(pair, prefixes, context)));

    const rounds = context.isQuick ? 1 : 3;
    const frames = context.isQuick ? 500_000 : 3_000_000;
    const results: BenchResult[] = [];
    for (const [label, pick] of [
      ["hot", (all: readonly number[]) => all.slice(0, 1)],
      ["random", (all: readonly number[]) => all],
    ] as const) {
      const samples = new Map<string, { mpps: number; ns: number }[]>();
      for (let round = 0; round < rounds; round++) {
        for (const peer of peers) {
          context.progress(`${label}, round ${round + 1} of ${rounds}: ${peer.name}`);
          using pair = new VethPair(`bpfb${process.pid}`);
          await using enforced = await peer.enforce(pair);
          const { polled, seconds, busyNs } = await pair.deliver(
            join(context.scratchDir, "generate.bpf.o"),
            frames,
            pick(peer.sources),
            context.scratchDir,
          );
          const leaked = received(pair);
          if (leaked > 0) throw new Error(`benchmark ${peer.name}: ${leaked} packets passed`);
          samples.set(peer.name, [
            ...(samples.get(peer.name) ?? []),
            { mpps: polled / seconds / 1e6, ns: busyNs / polled },
          ]);
          void enforced;
        }
      }
      const figure = (name: string, of: "mpps" | "ns"): number =>
        median((samples.get(name) ?? []).map((sample) => sample[of]));
      for (const { name } of peers) {
        if (name === "bpfleet filter") continue;
        const slug = name
          .replaceAll(/[^a-z0-9]+/gi, "-")
          .toLowerCase()
          .replace(/-$/, "");
        results.push(
          answer(
            `filter.veth.100k.${label}.mpps-vs-${slug}`,
            "Mpps",
            figure("bpfleet filter", "mpps"),
            name,
            figure(name, "mpps"),
          ),
          answer(
            `filter.veth.100k.${label}.ns-vs-${slug}`,
            "ns",
            figure("bpfleet filter", "ns"),
            name,
            figure(name, "ns"),
          ),
        );
      }
    }
    return results;
  },
};

function xdpPeer(name: string, { program }: Loaded, sources: readonly number[]): Peer {
  return {
    name,
    sources,
    enforce: (pair) =>
      program.attach({ xdp: pair.ifindex, mode: "native" }, { inNetns: `/run/netns/${pair.receiver}` }),
  };
}

function commandPeer(name: string, sources: readonly number[], enforce: (pair: VethPair) => void): Peer {
  return {
    name,
    sources,
    enforce: async (pair) => {
      enforce(pair);
      return { [Symbol.asyncDispose]: () => Promise.resolve() };
    },
  };
}

async function fillXdpFilter({ object }: Loaded, addresses: readonly number[]): Promise<void> {
  using map: BpfMap = object.map("filter_ipv4");
  const key = Buffer.alloc(4);
  const value = Buffer.alloc((map.info.valueSize + 7) & ~7);
  value.writeBigUInt64LE(xdpFilterMatchSource);
  const perCpu = Buffer.concat(Array.from({ length: possibleCpus() }, () => value));
  for (const address of new Set(addresses)) {
    key.writeUInt32BE(address);
    map.setRaw(key, perCpu);
  }
}

function possibleCpus(): number {
  const last = readFileSync("/sys/devices/system/cpu/possible", "utf8").trim().split(/[-,]/).at(-1);
  return Number(last) + 1;
}

function enforceNft(pair: VethPair, prefixes: readonly BenchPrefix[], context: BenchContext): void {
  const file = join(context.scratchDir, "rules.nft");
  const elements = prefixes.map(({ address, length }) => `${renderAddress(address)}/${length}`).join(",\n");
  writeFileSync(
    file,
    `table netdev bench {
  set listed { type ipv4_addr; flags interval; auto-merge; elements = { ${elements} } }
  chain ingress { type filter hook ingress device eth0 priority 0; policy accept; ip saddr @listed drop; }
}\n`,
  );
  pair.inReceiver("nft", "-f", file);
}

function enforceIpset(pair: VethPair, prefixes: readonly BenchPrefix[], context: BenchContext): void {
  const file = join(context.scratchDir, "sets.ipset");
  const lines = prefixes.map(({ address, length }) => `add listed ${renderAddress(address)}/${length}`);
  writeFileSync(file, [`create listed hash:net maxelem ${many * 2} hashsize 65536`, ...lines, ""].join("\n"));
  pair.inReceiver("ipset", "restore", "-f", file);
  pair.inReceiver(
    "iptables",
    "-t",
    "raw",
    "-A",
    "PREROUTING",
    "-m",
    "set",
    "--match-set",
    "listed",
    "src",
    "-j",
    "DROP",
  );
}

/** UDP packets that reached the host's own stack. */
function received(pair: VethPair): number {
  const lines = pair
    .inReceiver("cat", "/proc/net/snmp")
    .split("\n")
    .filter((line) => line.startsWith("Udp:"));
  const [names, values] = lines.map((line) => line.split(" "));
  const field = (name: string): number => Number(values?.[names?.indexOf(name) ?? -1] ?? 0);
  return field("InDatagrams") + field("NoPorts");
}

function isThere(command: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${command}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
