import assert from "node:assert/strict";
import { test } from "node:test";
import { encode } from "dns-packet";
import * as make from "../filter/testing/packets.ts";
import { compileWorld, servicesOf } from "./testing/compiled-world.ts";
import { nameEntries } from "./testing/learnt-names.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { bitsOf, ClauseCounts, judge, randomCases, type JudgedPacket, type RandomCase } from "./testing/mod.ts";
import type { World, WorldPacket } from "./testing/world.ts";

const pairs = Number(process.env["BPFLEET_POLICY_KERNEL_PAIRS"] ?? 100_000);
const seed = Number(process.env["BPFLEET_POLICY_SEED"] ?? 2);
const numbers = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58 } as const;

function bytesOf(address: string): Uint8Array {
  const bits = bitsOf(address);
  return Uint8Array.from({ length: bits.length / 8 }, (_, at) => Number.parseInt(bits.slice(at * 8, at * 8 + 8), 2));
}

/** `other` is the port that somebody chose by chance, or the identifier of an echo. */
function frameOf(world: World, { pod, direction, peer, protocol, port, asks }: WorldPacket, other: number): Buffer {
  const remote = bytesOf(peer);
  const own = world.pods.find(({ name }) => name === pod)?.addresses.map(bytesOf) ?? [];
  const local = own.find(({ length }) => length === remote.length) ?? remote;
  const [source, destination] = direction === "ingress" ? [remote, local] : [local, remote];
  const ports = { source: other, destination: port };
  const number = typeof protocol === "number" ? protocol : numbers[protocol];
  const payload = (): readonly number[] => {
    switch (protocol) {
      case "TCP":
        return make.tcp([], ports);
      case "UDP":
        return make.udp(asks === undefined ? [1, 2, 3, 4] : [...question(asks, other)], ports);
      case "SCTP":
        return [...make.be16(other), ...make.be16(port), ...new Uint8Array(20)];
      case "ICMP":
      case "ICMPv6":
        return make.icmp(port, other);
      default:
        return [0, 0, 8, 0, 0, 0, 0, 0];
    }
  };
  return remote.length === 4
    ? make.ethernet(make.ETH_IPV4, make.ipv4(payload(), { protocol: number, source, destination }))
    : make.ethernet(make.ETH_IPV6, make.ipv6(payload(), { next: number, source, destination }));
}

function question(name: string, id: number): Uint8Array {
  return encode({ type: "query", id, questions: [{ type: "A", name }] });
}

/** Where a frame goes. */
function placeIn(frame: Buffer): { readonly bytes: string; readonly port: number } {
  const isIpv6 = frame.readUInt16BE(12) === make.ETH_IPV6;
  const [from, to] = isIpv6 ? [38, 54] : [30, 34];
  return { bytes: frame.subarray(from, to).join(), port: frame.readUInt16BE(to + 2) };
}

class Judge {
  readonly #policy: LoadedPolicy;
  #other = 20_000;

  constructor(policy: LoadedPolicy) {
    this.#policy = policy;
  }

  async put({ world, policies, others }: RandomCase, serial: bigint): Promise<void> {
    const { compiled } = compileWorld(
      policies.filter(({ mode }) => mode === "enforce"),
      world,
      others,
    );
    await this.#policy.put({ ...compiled.table, serial });
    await this.#policy.putServices(servicesOf(world));
    const taught = (world.names ?? []).map(({ address, name }) => ({ ifindex: 1, address, name }));
    this.#policy.teach(nameEntries(taught, 2n ** 62n));
  }

  /** What the kernel decides, and what the documents say of where it sent the packet. */
  async judge(each: RandomCase, judged: JudgedPacket): Promise<readonly [found: string, expected: string]> {
    this.#other = this.#other === 60_000 ? 20_000 : this.#other + 1;
    const { packet, sent, judgement } = judged;
    if (sent !== undefined) return await this.#judgeSent(each, sent, judgement.verdict);
    const frame = frameOf(each.world, packet, this.#other);
    // Without ports two packets are of one flow: what the first one left would decide.
    const isOfOne = typeof packet.protocol === "number";
    const { verdict } = await (isOfOne
      ? this.#policy.explain(packet.direction, frame)
      : this.#policy.run(packet.direction, frame));
    return [verdict === "pass" ? "allow" : "deny", judgement.verdict];
  }

  async #judgeSent(
    { world, policies, others }: RandomCase,
    { packet, places }: NonNullable<JudgedPacket["sent"]>,
    withoutBackend: string,
  ): Promise<readonly [found: string, expected: string]> {
    const { retval, data } = await this.#policy.programs.egress.testRun({
      data: frameOf(world, packet, this.#other),
    });
    const found = (retval | 0) === -1 ? "allow" : "deny";
    if (places.length === 0) return [found, withoutBackend];
    const met = placeIn(data);
    const place = places.find(({ address, port }) => port === met.port && bytesOf(address).join() === met.bytes);
    // What a pod sends that nobody restricts is left to kube-proxy.
    if (judge(policies, world, packet, others).because.by === "nobody")
      return [`${found} ${met.port}`, `allow ${packet.port}`];
    assert.ok(place, `sent to ${JSON.stringify(met)}, none of ${JSON.stringify(places)}`);
    const { address, port } = place;
    const asks = port === 53 ? packet.asks : undefined;
    return [found, judge(policies, world, { ...packet, peer: address, port, asks }, others).verdict];
  }
}

test("policy_ingress and policy_egress decide as the documents say, each clause often enough to tell", async () => {
  await using policy = await LoadedPolicy.load(4096, { heeds_names: true, translates_services: true });
  const judging = new Judge(policy);
  const counts = new ClauseCounts();
  let count = 0;
  let serial = 0n;
  for (const each of randomCases(seed, 200, true)) {
    await judging.put(each, ++serial);
    for (const judged of each.packets) {
      const [found, expected] = await judging.judge(each, judged);
      if (found !== expected) {
        const told = { found, expected, ...judged, policies: each.policies, others: each.others, world: each.world };
        const text = JSON.stringify(told, (key, part: unknown) => (key === "origin" ? undefined : part));
        assert.fail(`seed ${seed}, pair ${count}: ${text}`);
      }
      counts.add(judged);
      count++;
    }
    if (count >= pairs) break;
  }
  assert.deepEqual(counts.tooRare, []);
});
