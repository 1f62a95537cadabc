/** What the programs in the kernel decide of packets of a world, beside what the documents say. */
import { encode } from "dns-packet";
import type { RuleRef } from "@bpfleet/kernel";
import * as make from "../../filter/testing/packets.ts";
import type { PolicyRule } from "../policy.ts";
import { compileWorld, servicesOf } from "./compiled-world.ts";
import { compareDecision, type Verdicts } from "./deciding-rule.ts";
import { nameEntries } from "./learnt-names.ts";
import { LoadedPolicy } from "./loaded-policy.ts";
import type { Counterexample } from "./minimise.ts";
import type { JudgedPacket, RandomCase } from "./random-cases.ts";
import { throughObjects, type Misreading } from "./read-objects.ts";
import { bitsOf } from "./reference-addresses.ts";
import { judge, judgeWithoutBackend } from "./reference.ts";
import { placesBehind } from "./reference-services.ts";
import type { World, WorldPacket } from "./world.ts";

const numbers = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58 } as const;

function bytesOf(address: string): Uint8Array {
  const bits = bitsOf(address);
  return Uint8Array.from({ length: bits.length / 8 }, (_, at) => Number.parseInt(bits.slice(at * 8, at * 8 + 8), 2));
}

/** `other` is the port that somebody chose by chance, or the identifier of an echo. */
function frameOf(world: World, { pod, direction, peer, protocol, port, asks }: WorldPacket, other: number): Buffer {
  const remote = bytesOf(peer);
  const ends = pod === "" ? world.nodes.filter(({ isThisNode }) => isThisNode) : world.pods;
  const own = ends.find(({ name }) => pod === "" || name === pod)?.addresses.map(bytesOf) ?? [];
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

export type Situation = Pick<RandomCase, "world" | "policies" | "others">;
type Sent = NonNullable<JudgedPacket["sent"]>;

/** Of pods, one of which is on this node; or of this node itself. */
export class KernelJudge implements AsyncDisposable {
  readonly #policy: LoadedPolicy;
  readonly #misread: Misreading | undefined;
  #other = 20_000;
  #serial = 0n;
  /** Of what is in force. */
  #rules: readonly RuleRef[] = [];
  #places: ReadonlyMap<PolicyRule, string> = new Map();

  private constructor(policy: LoadedPolicy, misread: Misreading | undefined) {
    this.#policy = policy;
    this.#misread = misread;
  }

  /** `misread`: as a reader would that makes a mistake, to see that it is found. */
  static async load(of: "policy" | "host", misread?: Misreading): Promise<KernelJudge> {
    const globals = of === "policy" ? { heeds_names: true, translates_services: true } : {};
    return new KernelJudge(await LoadedPolicy.load(4096, globals, true, 1024, of), misread);
  }

  /** In force from now on: the policies as they are read of their objects. */
  async put({ world, ...written }: Situation): Promise<void> {
    const { policies, others, places } = throughObjects(written, this.#misread);
    const enforced = policies.filter(({ mode }) => mode === "enforce");
    const { compiled } = compileWorld(enforced, world, others);
    this.#rules = compiled.rules;
    this.#places = places;
    await this.#policy.putOver({ ...compiled.table, serial: ++this.#serial }, servicesOf(world));
    const taught = (world.names ?? []).map(({ address, name }) => ({ ifindex: 1, address, name }));
    this.#policy.teach(nameEntries(taught, 2n ** 62n));
  }

  /** What the kernel decides, by which rule, and what the documents say of where it sent the packet. */
  async judge(situation: Situation, judged: Omit<JudgedPacket, "clauses">): Promise<Verdicts> {
    this.#other = this.#other === 60_000 ? 20_000 : this.#other + 1;
    const { packet, sent, judgement } = judged;
    if (sent !== undefined) return this.#judgeSent(situation, sent, judgement.verdict);
    const frame = frameOf(situation.world, packet, this.#other);
    // Without ports two packets are of one flow: what the first one left would decide.
    const isOfOne = typeof packet.protocol === "number";
    const { verdict, rule } = await (isOfOne
      ? this.#policy.explain(packet.direction, frame)
      : this.#policy.run(packet.direction, frame));
    const named = rule === 0 ? undefined : this.#rules.find(({ index }) => index === rule);
    return compareDecision(verdict, judgement, named, this.#places);
  }

  /** The same of one packet as it is sent, whatever was in force. */
  async compare({ packet, ...situation }: Counterexample): Promise<Verdicts> {
    const { world, policies, others } = situation;
    await this.put(situation);
    const places = packet.pod === "" ? undefined : placesBehind(world, packet);
    const isForNobody = places?.length === 0;
    const judgement = (isForNobody ? judgeWithoutBackend : judge)(policies, world, packet, others);
    return this.judge(situation, { packet, judgement, sent: places && { packet, places } });
  }

  async #judgeSent(
    { world, policies, others }: Situation,
    { packet, places }: Sent,
    withoutBackend: string,
  ): Promise<Verdicts> {
    const { retval, data } = await this.#policy.programs.egress.testRun({
      data: frameOf(world, packet, this.#other),
    });
    const found = (retval | 0) === -1 ? "allow" : "deny";
    if (places.length === 0) return { found, expected: withoutBackend };
    const met = placeIn(data);
    const place = places.find(({ address, port }) => port === met.port && bytesOf(address).join() === met.bytes);
    // What a pod sends that nobody restricts is left to kube-proxy.
    if (judge(policies, world, packet, others).because.by === "nobody")
      return { found: `${found} ${met.port}`, expected: `allow ${packet.port}` };
    if (place === undefined) return { found: `sent to ${JSON.stringify(met)}`, expected: JSON.stringify(places) };
    const { address, port } = place;
    const asks = port === 53 ? packet.asks : undefined;
    return { found, expected: judge(policies, world, { ...packet, peer: address, port, asks }, others).verdict };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#policy[Symbol.asyncDispose]();
  }
}
