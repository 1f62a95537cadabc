import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { identityKey } from "./identity.ts";
import { decodeIdentity, decodePinName, encodedKeyLimit, encodeIdentity, encodePinName } from "./pin-name.ts";
import { parseHookKey, renderHookKey, type HookPoint } from "./hook-point.ts";

const text = fc.string({ unit: "grapheme", maxLength: 300 });

test("decodePinName is the inverse of encodePinName, and names hold nothing that a bpffs refuses", () => {
  fc.assert(
    fc.property(text, (key) => {
      const name = encodePinName(key);
      assert.match(name, /^[A-Za-z0-9_%-]*$/);
      assert.equal(decodePinName(name), key);
    }),
  );
});

test("decodePinName knows names that are not ours", () => {
  for (const name of ["%", "%4", "%zz", "%41", "a.b", "a/b", "%2f", "%FF"])
    assert.equal(decodePinName(name), undefined, name);
});

test("encodePinName spells what people know", () => {
  assert.equal(
    encodePinName("filter/default/xdp-packet-filter/list.v4"),
    "filter%2Fdefault%2Fxdp-packet-filter%2Flist%2Ev4",
  );
});

test("decodeIdentity is the inverse of encodeIdentity", () => {
  const identity = fc.record({
    key: text.filter((key) => key !== ""),
    generation: fc.stringMatching(/^[0-9a-f]{14}$/),
  });
  fc.assert(fc.property(identity, (given) => assert.deepEqual(decodeIdentity(encodeIdentity(given)), { ...given })));
  for (const name of ["", "@", "a@", "@a", "a@b@c", "a"]) assert.equal(decodeIdentity(name), undefined, name);
});

test("identityKey keeps short keys, and makes long ones fit and differ", () => {
  fc.assert(
    fc.property(text, text, (a, b) => {
      const [short, other] = [identityKey(a), identityKey(b)];
      assert.ok(encodePinName(short).length <= encodedKeyLimit);
      assert.equal(identityKey(short), short);
      assert.equal(short === other, a === b);
      if (encodePinName(a).length <= encodedKeyLimit) assert.equal(short, a);
    }),
  );
});

test("parseHookKey is the inverse of renderHookKey", () => {
  const name = fc.stringMatching(/^[a-z0-9.@_-]{1,15}$/);
  const point: fc.Arbitrary<HookPoint> = fc.oneof(
    fc.record({ hook: fc.constant("xdp" as const), interface: name }),
    fc.record({ hook: fc.constant("tc" as const), interface: name, direction: fc.constantFrom("ingress", "egress") }),
    fc.record({
      hook: fc.constant("cgroup" as const),
      path: fc.stringMatching(/^\/?[a-z#./-]{1,30}$/),
      attach: fc.constantFrom("ingress", "egress", "connect4", "sock_ops"),
      member: fc.stringMatching(/^[a-z./-]{0,30}$/),
    }),
  );
  fc.assert(fc.property(point, (given) => assert.deepEqual(parseHookKey(renderHookKey(given)), { ...given })));
  for (const key of ["", "xdp", "xdp/", "lwt/eth0", "cgroup-egress/a"]) assert.equal(parseHookKey(key), undefined, key);
});
