import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeAddress,
  decodeEvent,
  decodeFilter,
  decodeLink,
  decodeRoute,
  DumpCollector,
  encodeAttribute,
  encodeDumpRequest,
  encodeLinkRequest,
  encodeMessage,
  encodeText,
  encodeU32,
  listAttributes,
  messageFlags,
  NetlinkError,
  parseMessages,
  readMessage,
  renderHandle,
  renderIp,
  tcHandles,
  type NetlinkMessage,
} from "./mod.ts";

const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
const u16 = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
const message = (type: number, payload: Uint8Array, more: Partial<NetlinkMessage> = {}): NetlinkMessage => ({
  type,
  flags: 0,
  sequence: 1,
  portId: 0,
  payload,
  ...more,
});
const ifinfomsg = (ifindex: number, flags: number) =>
  join(Uint8Array.of(0, 0), u16(1), encodeU32(ifindex), encodeU32(flags), encodeU32(0));

test("decodeLink reads a veth with its alternative name and its XDP program", () => {
  const link = decodeLink(
    message(
      16,
      join(
        ifinfomsg(7, 0x1043),
        encodeAttribute(3, encodeText("eth0")),
        encodeAttribute(4, encodeU32(1400)),
        encodeAttribute(1, Uint8Array.of(2, 0, 0, 0, 0, 0xaf)),
        encodeAttribute(16, Uint8Array.of(6)),
        encodeAttribute(5, encodeU32(3)),
        encodeAttribute(37, encodeU32(2)),
        encodeAttribute(0x8000 | 18, encodeAttribute(1, encodeText("veth"))),
        encodeAttribute(
          0x8000 | 43,
          join(
            encodeAttribute(2, Uint8Array.of(1)),
            encodeAttribute(4, encodeU32(55)),
            encodeAttribute(5, encodeU32(55)),
          ),
        ),
        encodeAttribute(
          0x8000 | 52,
          join(encodeAttribute(53, encodeText("uplink")), encodeAttribute(53, encodeText("wan"))),
        ),
      ),
    ),
  );
  assert.deepEqual(link, {
    ifindex: 7,
    name: "eth0",
    altNames: ["uplink", "wan"],
    flags: 0x1043,
    isUp: true,
    hardwareType: 1,
    mtu: 1400,
    mac: "02:00:00:00:00:af",
    operState: "up",
    kind: "veth",
    masterIfindex: undefined,
    peerIfindex: 3,
    peerNetnsId: 2,
    qdisc: "",
    txQueues: 1,
    rxQueues: 1,
    xdp: { mode: "native", programIds: [55] },
  });
});

test("decodeLink sees no XDP where the kernel says that none is attached", () => {
  assert.equal(
    decodeLink(message(16, join(ifinfomsg(1, 0), encodeAttribute(43, encodeAttribute(2, Uint8Array.of(0))))))?.xdp,
    undefined,
  );
});

test("decodeAddress takes the local end of a point-to-point link and names the far one", () => {
  const address = decodeAddress(
    message(
      20,
      join(
        Uint8Array.of(2, 32, 0x80, 0),
        encodeU32(3),
        encodeAttribute(1, Uint8Array.of(10, 9, 9, 8)),
        encodeAttribute(2, Uint8Array.of(10, 9, 9, 9)),
      ),
    ),
  );
  assert.equal(address?.address, "10.9.9.9");
  assert.equal(address?.peer, "10.9.9.8");
});

test("decodeRoute reads every hop of a multipath route and its weight", () => {
  const hop = (ifindex: number, weight: number, gateway: Uint8Array) => {
    const attributes = encodeAttribute(5, gateway);
    return join(u16(8 + attributes.length), Uint8Array.of(0, weight - 1), encodeU32(ifindex), attributes);
  };
  const route = decodeRoute(
    message(
      24,
      join(
        Uint8Array.of(2, 0, 0, 0, 254, 3, 0, 1),
        encodeU32(0),
        encodeAttribute(9, join(hop(3, 2, Uint8Array.of(10, 0, 0, 1)), hop(4, 1, Uint8Array.of(10, 0, 0, 2)))),
      ),
    ),
  );
  assert.ok(route?.isDefault);
  assert.deepEqual(route.hops, [
    { ifindex: 3, gateway: "10.0.0.1", weight: 2 },
    { ifindex: 4, gateway: "10.0.0.2", weight: 1 },
  ]);
});

test("decodeRoute takes a gateway of the other family from RTA_VIA", () => {
  const via = join(u16(10), Uint8Array.of(0x20, 1, 0xd, 0xb8), new Uint8Array(11), Uint8Array.of(7));
  const route = decodeRoute(
    message(
      24,
      join(
        Uint8Array.of(2, 24, 0, 0, 254, 3, 0, 1),
        encodeU32(0),
        encodeAttribute(1, Uint8Array.of(203, 0, 113, 0)),
        encodeAttribute(18, via),
      ),
    ),
  );
  assert.equal(route?.hops[0]?.gateway, "2001:db8::7");
});

test("decodeFilter tells a BPF filter by program id, name, priority and protocol", () => {
  const filter = decodeFilter(
    message(
      44,
      join(
        new Uint8Array(4),
        encodeU32(2),
        encodeU32(1),
        encodeU32(tcHandles.clsactIngress),
        encodeU32(((1 << 16) | 0x0300) >>> 0),
        encodeAttribute(1, encodeText("bpf")),
        encodeAttribute(
          2,
          join(
            encodeAttribute(7, encodeText("b0123")),
            encodeAttribute(8, encodeU32(1)),
            encodeAttribute(10, Uint8Array.of(0xab, 1)),
            encodeAttribute(11, encodeU32(99)),
          ),
        ),
      ),
    ),
  );
  assert.deepEqual(
    { priority: filter.priority, protocol: filter.protocol, bpf: filter.bpf },
    {
      priority: 1,
      protocol: 3,
      bpf: { name: "b0123", programId: 99, tag: "ab01", isDirectAction: true },
    },
  );
});

test("readMessage gives the kernel's sentence and the place it speaks of", () => {
  const request = encodeLinkRequest({ name: "nope" }, 9);
  const capped = message(
    2,
    join(
      encodeU32(-22 >>> 0),
      request.subarray(0, 16),
      encodeAttribute(1, encodeText("Unknown device")),
      encodeAttribute(2, encodeU32(36)),
    ),
    { flags: messageFlags.capped | messageFlags.ackAttributes },
  );
  const whole = message(
    2,
    join(
      encodeU32(-22 >>> 0),
      request,
      encodeAttribute(1, encodeText("Unknown device")),
      encodeAttribute(2, encodeU32(36)),
    ),
    { flags: messageFlags.ackAttributes },
  );
  const expected = { kind: "refusal", refusal: { errno: 22, text: "Unknown device", offset: 36 } };
  assert.deepEqual(readMessage(capped), expected);
  assert.deepEqual(readMessage(whole), expected);
  assert.deepEqual(readMessage(message(2, join(encodeU32(0), request))), { kind: "ack" });
});

test("DumpCollector joins the parts, passes other sequences by, and reports a torn dump", () => {
  const link = (sequence: number, name: string, flags = messageFlags.multi as number) =>
    encodeMessage(message(16, join(ifinfomsg(1, 0), encodeAttribute(3, encodeText(name))), { sequence, flags }));
  const done = encodeMessage(message(3, encodeU32(0), { sequence: 5, flags: messageFlags.multi }));

  const collector = new DumpCollector(5);
  assert.deepEqual(collector.accept(join(link(5, "lo"), link(4, "alien"))), { state: "more" });
  const end = collector.accept(join(link(5, "eth0"), done));
  assert.equal(end.state, "complete");
  assert.deepEqual(end.state === "complete" && end.items.map((item) => item.table === "link" && item.link.name), [
    "lo",
    "eth0",
  ]);

  const torn = new DumpCollector(5);
  torn.accept(link(5, "lo", messageFlags.multi | messageFlags.dumpInterrupted));
  assert.deepEqual(torn.accept(done), { state: "torn" });
});

test("decodeEvent tells what came from what went, and knows nothing of other tables", () => {
  assert.equal(decodeEvent(message(16, ifinfomsg(1, 0)))?.change, "there");
  assert.equal(decodeEvent(message(17, ifinfomsg(1, 0)))?.change, "gone");
  assert.equal(decodeEvent(message(80, ifinfomsg(1, 0))), undefined);
});

test("decodeEvent does not take an interface that leaves its bridge for one that is gone", () => {
  const ofBridge = ifinfomsg(4, 0x1043);
  ofBridge[0] = 7;
  assert.equal(decodeEvent(message(17, ofBridge)), undefined);
});

test("encodeDumpRequest is parsed back as one message of the table's GET type", () => {
  const [request] = parseMessages(
    encodeDumpRequest("filter", { sequence: 3, ifindex: 2, parent: tcHandles.clsactEgress }),
  );
  assert.equal(request?.type, 46);
  assert.equal(request?.flags, 0x301);
  assert.equal(decodeFilter(message(44, request?.payload ?? new Uint8Array())).parent, tcHandles.clsactEgress);
});

test("renderIp shortens the first longest run of zeros, as RFC 5952 says", () => {
  const ip = (groups: number[]) => renderIp(Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])));
  assert.equal(ip([0, 0, 0, 0, 0, 0, 0, 0]), "::");
  assert.equal(ip([0, 0, 0, 0, 0, 0, 0, 1]), "::1");
  assert.equal(ip([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1]), "2001:db8::1:0:0:1");
  assert.equal(ip([0x2001, 0xdb8, 0, 1, 1, 1, 1, 1]), "2001:db8:0:1:1:1:1:1");
  assert.equal(ip([0, 0, 0, 0, 0, 0xffff, 0x0a00, 1]), "::ffff:10.0.0.1");
});

test("renderHandle writes what tc writes", () => {
  assert.deepEqual([0xffffffff, 0xfffffff2, 0x10010, 0x10000, 0].map(renderHandle), [
    "root",
    "ffff:fff2",
    "1:10",
    "1:",
    "none",
  ]);
});

test("encodeAttribute and listAttributes are inverse", () => {
  const attribute = fc.record(
    { type: fc.integer({ min: 0, max: 0x3fff }), value: fc.uint8Array({ maxLength: 40 }) },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(attribute), (list) => {
      assert.deepEqual(listAttributes(join(...list.map(({ type, value }) => encodeAttribute(type, value)))), list);
    }),
  );
});

test("encodeMessage and parseMessages are inverse", () => {
  const any = fc.record(
    {
      type: fc.integer({ min: 0, max: 0xffff }),
      flags: fc.integer({ min: 0, max: 0xffff }),
      sequence: fc.nat(),
      portId: fc.nat(),
      payload: fc.uint8Array({ maxLength: 40 }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(any), (list) => {
      assert.deepEqual(parseMessages(join(...list.map(encodeMessage))), list);
    }),
  );
});

/** A datagram of believable messages in which some bytes are wrong. */
const spoilt = fc
  .tuple(
    fc.array(
      fc.record({
        type: fc.constantFrom(2, 3, 4, 16, 17, 20, 24, 28, 36, 44),
        flags: fc.constantFrom(0, 2, 0x10, 0x100, 0x200, 0x300),
        head: fc.uint8Array({ maxLength: 24 }),
        attributes: fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.uint8Array({ maxLength: 24 }))),
      }),
      { maxLength: 4 },
    ),
    fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
    fc.nat(400),
  )
  .map(([messages, flips, cut]) => {
    const bytes = join(
      ...messages.map(({ type, flags, head, attributes }) =>
        encodeMessage(
          message(type, join(head, ...attributes.map(([kind, value]) => encodeAttribute(kind, value))), { flags }),
        ),
      ),
    );
    for (const [at, byte] of flips) if (at < bytes.length) bytes[at] = byte;
    return bytes.subarray(0, Math.max(0, bytes.length - (cut > 300 ? cut - 300 : 0)));
  });

test("decoding garbage gives values or a NetlinkError, and depends on nothing past its end", () => {
  fc.assert(
    fc.property(fc.oneof(spoilt, fc.uint8Array({ maxLength: 200 })), (bytes) => {
      // The same bytes inside a larger buffer with other neighbours must read the same.
      const wide = new Uint8Array(bytes.length + 64).fill(0xff);
      wide.set(bytes, 32);
      assert.deepEqual(attempt(wide.subarray(32, 32 + bytes.length)), attempt(bytes));
    }),
    { numRuns: 3000 },
  );
});

function attempt(bytes: Uint8Array): unknown {
  try {
    return {
      events: parseMessages(bytes).map((each) => [readMessage(each).kind, decodeEvent(each)]),
      dump: new DumpCollector(1).accept(bytes),
    };
  } catch (error) {
    assert.ok(error instanceof NetlinkError, String(error));
    return error.message;
  }
}
