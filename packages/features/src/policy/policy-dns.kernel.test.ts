import assert from "node:assert/strict";
import { test } from "node:test";
import { encode } from "dns-packet";
import {
  decodeLearnt,
  encodeFlowKey,
  encodeLearntKey,
  encodeQuestion,
  flowKeySize,
  learntKeySize,
  nameEvent,
  questionKeySize,
  questionSize,
} from "./generated/policy.ts";
import * as make from "../filter/testing/packets.ts";
import { countForgotten } from "./learnt.ts";
import type { Policy, PolicyRule } from "./policy.ts";
import { compileWorld } from "./testing/compiled-world.ts";
import { randomAnswer, types, type Question } from "./testing/dns-messages.ts";
import { ACK, endpointPacket, friend, friend6, SYN, tcpPacket, udpPacket, us } from "./testing/endpoint-packets.ts";
import { hashOf, nameEntries } from "./testing/learnt-names.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { Chance } from "./testing/random.ts";
import { readAnswer } from "./testing/read-answer.ts";
import { podOf } from "./testing/written-policy.ts";
import { addressOf, smallTable } from "./testing/small-table.ts";

const messages = Number(process.env["BPFLEET_DNS_MESSAGES"] ?? 100_000);
const seed = Number(process.env["BPFLEET_DNS_SEED"] ?? 1);
const local = 40_000;
const second = 1_000_000_000n;

/** An endpoint that asks a server, and reads what it hears. */
class Listener {
  readonly policy: LoadedPolicy;
  #asked: Uint8Array | undefined;

  private constructor(policy: LoadedPolicy) {
    this.policy = policy;
  }

  static async make(globals: Readonly<Record<string, number | boolean>> = {}, nameCount = 4096): Promise<Listener> {
    const policy = await LoadedPolicy.load(64, { heeds_names: true, ...globals }, false, nameCount);
    await policy.put(smallTable({ peers: {}, egress: [{ rules: [{ port: ["udp", 53], rule: 1 }] }] }));
    await policy.programs.egress.testRun({ data: udpPacket("egress", local, 53) });
    assert.equal((await policy.flows(4)).length, 1);
    return new Listener(policy);
  }

  /** As if the question had passed. */
  ask({ id, name, type }: Question): void {
    const key = new Uint8Array(questionKeySize);
    const flow = {
      ifindex: 1,
      localPort: local,
      remotePort: 53,
      protocol: 17,
      localLow: 0,
      remoteLow: 0,
      localHigh: [0, 0, 0],
      remoteHigh: [0, 0, 0],
    };
    encodeFlowKey(flow, new DataView(key.buffer));
    const view = new DataView(key.buffer);
    // In network order.
    view.setUint16(4, local);
    view.setUint16(6, 53);
    key.set(us, 12);
    key.set(friend, 16);
    view.setUint16(flowKeySize, id);
    const value = new Uint8Array(questionSize);
    const question = { hash: hashOf(name), askedNs: process.hrtime.bigint() - second, type, unused: 0 };
    encodeQuestion(question, new DataView(value.buffer));
    this.policy.map("questions").setRaw(key, value);
    this.#asked = key;
  }

  /** What was not answered. */
  forget(): void {
    if (this.#asked !== undefined) this.policy.map("questions").deleteRaw(this.#asked);
  }

  async hear(message: Uint8Array): Promise<void> {
    const datagram = make.udp([...message], { source: 53, destination: local });
    const { retval } = await this.policy.programs.ingress.testRun({
      data: endpointPacket("ingress", friend, 17, datagram),
    });
    assert.equal(retval | 0, -1);
  }

  events(): readonly number[] {
    return Object.values(nameEvent).map((event) => {
      const value = this.policy.map("name_events").getRaw(Buffer.from(Uint32Array.of(event).buffer));
      let sum = 0;
      for (let at = 0; at < (value?.length ?? 0); at += 8) sum += Number(value?.readBigUInt64LE(at) ?? 0n);
      return sum;
    });
  }

  /** When each name of the address ends, by its hash. */
  known(address: Uint8Array): ReadonlyMap<bigint, bigint> {
    const words = new DataView(Uint8Array.from(addressOf(address)).buffer);
    const key = new Uint8Array(learntKeySize);
    const learntKey = { ifindex: 1, unused: 0, high: words.getBigUint64(0), low: words.getBigUint64(8) };
    encodeLearntKey(learntKey, new DataView(key.buffer));
    const value = this.policy.map("learnt").getRaw(key);
    if (!value) return new Map();
    const { names } = decodeLearnt(new DataView(value.buffer, value.byteOffset, value.length));
    return new Map(names.flatMap(({ hash, untilNs }) => (hash === 0n ? [] : [[hash, untilNs] as const])));
  }

  async teach(name: string, address: string, ttl: number): Promise<void> {
    const asked = { id: 7, name, type: types.A };
    this.ask(asked);
    const questions = [{ type: "A", name }] as const;
    await this.hear(
      encode({
        type: "response",
        id: 7,
        questions: [...questions],
        answers: [{ type: "A", name, ttl, data: address }],
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.policy[Symbol.asyncDispose]();
  }
}

test("policy_ingress learns from messages what dns-packet reads in them, whatever is wrong with them", async () => {
  await using listener = await Listener.make({}, 16_384);
  const chance = new Chance(seed);
  let before = listener.events();
  const met = { taught: 0, unreadable: 0, unasked: 0, cut: 0 };
  for (let count = 0; count < messages; count++) {
    const { message, asked } = randomAnswer(chance);
    const expected = readAnswer(message, asked);
    listener.ask(asked);
    await listener.hear(message);
    listener.forget();
    const after = listener.events();
    const grown = (event: keyof typeof nameEvent): number =>
      (after[nameEvent[event]] ?? 0) - (before[nameEvent[event]] ?? 0);
    const found = {
      learnt: grown("learnt"),
      event: (["unasked", "unreadable", "cut"] as const).find((event) => grown(event) > 0),
    };
    const told = `seed ${seed}, message ${count}: ${JSON.stringify(asked)} ${message.toString("hex")}`;
    assert.deepEqual(found, { learnt: expected.addresses.length, event: expected.event }, told);
    for (const address of expected.addresses.slice(-8))
      assert.ok(listener.known(address).has(hashOf(asked.name)), `${told}: ${address.join(".")}`);
    before = after;
    if (expected.addresses.length > 0) met.taught++;
    if (expected.event !== undefined) met[expected.event]++;
  }
  const least = { taught: 20, unreadable: 20, unasked: 20, cut: 500 };
  for (const [what, of] of Object.entries(least)) {
    const count = met[what as keyof typeof met];
    assert.ok(count > messages / of, `${what}: ${count}`);
  }
});

/** An answer in pieces, each of which is sent; what stands in a later one begins where the one before ended, or over it. */
function piecesOf(
  datagram: readonly number[],
  from: Uint8Array,
  cuts: readonly (readonly [number, number])[],
): Buffer[] {
  return cuts.map(([begin, end]) =>
    endpointPacket("ingress", from, 17, datagram.slice(begin, end), { offset: begin, more: end < datagram.length }),
  );
}

test("policy_ingress learns nothing from fragments, wherever they are cut, also where one repeats or is alone, and counts them", async () => {
  await using listener = await Listener.make();
  const name = "a.test";
  const answer = encode({
    type: "response",
    id: 7,
    questions: [{ type: "A", name }],
    answers: Array.from({ length: 60 }, (_, at) => ({ type: "A", name, ttl: 60, data: `203.0.113.${at}` }) as const),
  });
  const datagram = make.udp([...answer], { source: 53, destination: local });
  const size = datagram.length;
  const cuts: readonly (readonly (readonly [number, number])[])[] = [
    [
      [0, 800],
      [800, size],
    ],
    [
      [800, size],
      [0, 800],
    ],
    [
      [0, 64],
      [64, 800],
      [800, size],
    ],
    // What comes later stands over what was there, and once more.
    [
      [0, 800],
      [64, size],
      [0, 800],
    ],
    // The first one alone.
    [[0, 1200]],
  ];
  let packets = 0;
  const fragments = (): number => listener.events()[nameEvent.in_fragments] ?? 0;
  for (const pieces of cuts) {
    listener.ask({ id: 7, name, type: types.A });
    for (const data of piecesOf(datagram, friend, pieces)) {
      await listener.policy.programs.ingress.testRun({ data });
      packets++;
    }
    listener.forget();
    assert.equal(listener.events()[nameEvent.learnt], 0, JSON.stringify(pieces));
  }
  assert.ok(fragments() >= cuts.length && fragments() <= packets, `${fragments()} of ${packets}`);
  // One of IPv6 that says that it is the first and the last piece is none the less one.
  const before = fragments();
  await listener.policy.programs.egress.testRun({ data: udpPacket("egress", local, 53, friend6) });
  const whole = { offset: 0, more: false };
  const { retval } = await listener.policy.programs.ingress.testRun({
    data: endpointPacket("ingress", friend6, 17, datagram, whole),
  });
  assert.equal(retval | 0, -1, "which passes");
  assert.equal(fragments(), before + 1);
  assert.equal(listener.events()[nameEvent.learnt], 0);
  listener.ask({ id: 7, name, type: types.A });
  await listener.hear(answer);
  assert.equal(listener.events()[nameEvent.learnt], 60, "in one piece it does");
});

test("policy_egress counts who asks by TCP, where nothing is learnt", async () => {
  await using listener = await Listener.make();
  await listener.policy.put(
    smallTable({ serial: 2n, peers: {}, egress: [{ rules: [{ port: ["tcp", 53], rule: 1 }] }] }),
  );
  const send = async (port: number, flags: number): Promise<void> => {
    await listener.policy.programs.egress.testRun({ data: tcpPacket("egress", local, port, flags) });
  };
  await send(53, SYN);
  await send(53, ACK);
  await send(80, SYN);
  assert.equal(listener.events()[nameEvent.by_tcp], 1, "one that is open, none that is refused");
});

test("policy_ingress keeps eight names of one address, and the first to end gives way", async () => {
  await using listener = await Listener.make();
  for (let at = 0; at < 9; at++) await listener.teach(`n${at}.test`, "203.0.113.9", 100 + at);
  const known = listener.known(make.v4("203.0.113.9"));
  const expected = Array.from({ length: 8 }, (_, at) => hashOf(`n${at + 1}.test`));
  assert.deepEqual(new Set(known.keys()), new Set(expected));
  assert.equal(listener.events()[nameEvent.gave_way], 1);
});

test("policy_ingress keeps a name for the TTL and half a minute, and at least for as long as it is told", async () => {
  for (const [least, ttls] of [
    [0, { 0: 30n, 300: 330n, 2592000: 604830n }],
    [120, { 0: 150n, 300: 330n }],
  ] as const) {
    await using listener = await Listener.make({ name_seconds_at_least: least });
    for (const [ttl, expected] of Object.entries(ttls)) {
      const before = process.hrtime.bigint();
      await listener.teach(`a${ttl}.test`, "203.0.113.9", Number(ttl));
      const until = listener.known(make.v4("203.0.113.9")).get(hashOf(`a${ttl}.test`)) ?? 0n;
      const [from, to] = [before + (expected - 1n) * second, process.hrtime.bigint() + expected * second];
      assert.ok(from <= until && until <= to, `${least} ${ttl}: ${until - before}`);
    }
  }
});

test("policy_ingress counts an answer with more records than it reads, and learns from those that it reads", async () => {
  await using listener = await Listener.make();
  for (const [count, unreadable] of [
    [64, 0],
    [65, 1],
  ] as const) {
    const asked = { id: 7, name: `of${count}.test`, type: types.A };
    listener.ask(asked);
    const before = listener.events();
    const questions = [{ type: "A", name: asked.name } as const];
    const answers = Array.from(
      { length: count },
      (_, at) => ({ type: "A", name: asked.name, ttl: 60, data: `203.0.113.${at}` }) as const,
    );
    await listener.hear(encode({ type: "response", id: asked.id, questions, answers }));
    const grown = listener.events().map((after, at) => after - (before[at] ?? 0));
    assert.deepEqual([grown[nameEvent.learnt], grown[nameEvent.unreadable]], [64, unreadable], `${count}`);
  }
});

test("policy_ingress forgets what was unused for longest where its maps are full, and says nothing wrong of the rest", async () => {
  await using listener = await Listener.make({}, 256);
  const addresses = Array.from({ length: 2000 }, (_, at) => `203.${at >> 8}.113.${at & 255}`);
  for (const [at, address] of addresses.entries()) await listener.teach(`n${at}.test`, address, 300);
  const known = addresses.map((address, at) => {
    const names = listener.known(make.v4(address));
    assert.ok(names.size === 0 || (names.size === 1 && names.has(hashOf(`n${at}.test`))), address);
    return names.size;
  });
  assert.equal(known.at(-1), 1);
  const kept = known.filter((size) => size > 0).length;
  assert.ok(kept > 0 && kept <= 256, `${kept}`);
  const { length } = addresses;
  const { learnt, address_added: added, name_added: named, no_room: refused } = nameEvent;
  const events = listener.events();
  assert.deepEqual(
    [learnt, added, named, refused].map((each) => events[each]),
    [length, length, length, 0],
  );
  const told = { address_added: BigInt(length), name_added: BigInt(length), no_room: 0n };
  const [ofAddresses, ofNames] = [listener.policy.map("learnt"), listener.policy.map("known_names")];
  const forgotten = countForgotten(told, await ofAddresses.readBatch(), await ofNames.readBatch());
  assert.equal(forgotten.addresses, BigInt(length - kept));
  assert.ok(forgotten.names >= BigInt(length - 256), String(forgotten.names));
});

test("nameEntries are what the programs write", async () => {
  await using listener = await Listener.make();
  await listener.teach("www.a-b_c.test", "203.0.113.9", 300);
  const { known } = nameEntries([{ ifindex: 1, address: "203.0.113.9", name: "www.a-b_c.test" }], 0n);
  const [key, value] = known[0] ?? [];
  assert.ok(key && value);
  assert.deepEqual([...(listener.policy.map("known_names").getRaw(key) ?? [])], [...value]);
});

test("policy_egress opens nothing by a name that has ended, keeps what is open, and takes any name of an address", async () => {
  const object = { group: "cilium.io", kind: "CiliumNetworkPolicy", namespace: "x", name: "p" };
  const origin = { object, path: "" };
  const nothing = { isDefaultDeny: false, allow: [], deny: [] };
  const toName = (text: string, port: number): Policy => {
    const rule: PolicyRule = {
      origin,
      description: undefined,
      peers: [{ origin, peer: "name", name: { is: "name", text } }],
      ports: [{ origin, match: "ports", protocol: "TCP", from: port, to: port, dns: undefined }],
      bandwidth: undefined,
      unserved: [],
    };
    const egress = { isDefaultDeny: true, allow: [rule], deny: [] };
    const subject = { selects: "pods", where: [], origin } as const;
    return {
      ref: object,
      mode: "enforce",
      onRevoke: "cut",
      statements: [{ origin, subject, ingress: nothing, egress, options: {} }],
    };
  };
  const pod = podOf("10.0.0.2");
  await using policy = await LoadedPolicy.load(64, { heeds_names: true });
  const put = async (policies: readonly Policy[]): Promise<void> =>
    policy.put(compileWorld(policies, { pods: [pod], nodes: [], localHost: "never" }).compiled.table);
  const address = "203.0.113.9";
  const teach = (names: readonly string[], seconds: bigint): void =>
    policy.teach(
      nameEntries(
        names.map((name) => ({ ifindex: 1, address, name })),
        process.hrtime.bigint() + seconds * second,
      ),
    );
  const send = async (from: number, port: number, flags = SYN): Promise<string> =>
    (await policy.run("egress", tcpPacket("egress", from, port, flags, make.v4(address)))).reason;
  await put([toName("a.test", 80), toName("b.test", 81)]);
  teach(["c.test"], 1000n);
  assert.equal(await send(1000, 80), "default_deny");
  teach(["a.test"], 1000n);
  assert.equal(await send(1001, 80), "allowed");
  assert.equal(await send(1001, 81), "default_deny");
  teach(["c.test", "b.test", "a.test"], 1000n);
  assert.deepEqual([await send(1002, 80), await send(1002, 81)], ["allowed", "allowed"]);
  teach(["a.test", "b.test"], -1000n);
  assert.equal(await send(1003, 80), "default_deny");
  assert.equal(await send(1001, 80, ACK), "established");
  await put([toName("a.test", 80), toName("d.test", 81)]);
  assert.equal(await send(1001, 80, ACK), "established", "judged again, by the name that it was opened by");
  assert.equal(await send(1002, 81, ACK), "revoked", "which no rule names any more");
});
