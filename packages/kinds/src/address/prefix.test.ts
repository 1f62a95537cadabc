import assert from "node:assert/strict";
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { parsePrefix, renderAddress, renderPrefix } from "./prefix.ts";

test("parsePrefix reads addresses and CIDRs, and clears the bits past the length", () => {
  const read = (text: string): unknown => {
    const result = parsePrefix(text);
    return result.ok ? [renderPrefix(result.prefix), result.hadHostBits] : result.because;
  };
  assert.deepEqual(read("192.168.1.100"), ["192.168.1.100", false]);
  assert.deepEqual(read("10.10.10.0/24"), ["10.10.10.0/24", false]);
  assert.deepEqual(read("10.10.10.7/24"), ["10.10.10.0/24", true]);
  assert.deepEqual(read("0.0.0.0/0"), ["0.0.0.0/0", false]);
  assert.deepEqual(read("255.255.255.255/1"), ["128.0.0.0/1", true]);
  assert.deepEqual(read("2001:DB8::1"), ["2001:db8::1", false]);
  assert.deepEqual(read("2001:db8::/33"), ["2001:db8::/33", false]);
  assert.deepEqual(read("2001:db8:ffff::/33"), ["2001:db8:8000::/33", true]);
  assert.deepEqual(read("::/0"), ["::/0", false]);
  assert.deepEqual(read("64:ff9b::1.2.3.4"), ["64:ff9b::102:304", false]);
});

test("parsePrefix says what is wrong with the rest", () => {
  const because = (text: string): string => {
    const result = parsePrefix(text);
    return result.ok ? "" : result.because;
  };
  assert.equal(because("example.org"), "it is no IP address; host names are not looked up");
  assert.equal(because("10.0.0"), "an IPv4 address has 4 numbers, this has 3");
  assert.equal(because("10.0.0.256"), "256 is no number from 0 to 255");
  assert.equal(because("10.0.0.08"), "08 is no number from 0 to 255 without leading zeros");
  assert.equal(because("10.0.0.0/33"), "the length after the slash must be 0 to 32");
  assert.equal(because("10.0.0.0/"), "the length after the slash must be 0 to 32");
  assert.equal(because("fe80::1%eth0"), "an address with a zone is of one interface only; leave the zone off");
  assert.equal(because("::ffff:1.2.3.4"), "it is an IPv4 address in IPv6 form; write 1.2.3.4");
  assert.equal(because("1::2::3"), "it has :: more than once");
  assert.equal(because("1:2:3"), "an IPv6 address has 8 groups, this has 3");
  assert.equal(because("12345::"), "12345 is no group of 1 to 4 hexadecimal digits");
});

test("parsePrefix reads every address that Node takes for one, and renderAddress writes it back", () => {
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.string({ unit: fc.constantFrom("0", "1", "f", ":", ".", "::", "25"), maxLength: 12 }),
  );
  fc.assert(
    fc.property(address, (text) => {
      const result = parsePrefix(text);
      const isAddress =
        isIPv4(text) ||
        (isIPv6(text) && !/^(0{1,4}:){5}ffff:|^::(0{1,4}:){0,4}ffff:[^:]*(:[^:]+|\.)[^:]*$/i.test(text));
      if (!result.ok)
        return assert.ok(!isAddress || /IPv4 address in IPv6 form/.test(result.because), `${text}: ${result.because}`);
      assert.ok(isIPv4(text) || isIPv6(text), text);
      const again = parsePrefix(renderAddress(result.prefix.bytes));
      assert.deepEqual(again, { ...result, hadHostBits: false });
    }),
    { numRuns: 3000 },
  );
});

test("parsePrefix takes the same addresses into a CIDR as Node's BlockList", () => {
  const inRange = (family: "ipv4" | "ipv6", address: fc.Arbitrary<string>, bits: number): void =>
    fc.assert(
      fc.property(address, address, fc.integer({ min: 1, max: bits }), (network, other, length) => {
        const [prefix, host] = [parsePrefix(`${network}/${length}`), parsePrefix(`${other}/${length}`)];
        if (!prefix.ok || !host.ok) return;
        const list = new BlockList();
        list.addSubnet(renderAddress(prefix.prefix.bytes), length, family);
        assert.equal(list.check(other, family), renderPrefix(prefix.prefix) === renderPrefix(host.prefix));
        assert.ok(list.check(network, family));
      }),
    );
  inRange("ipv4", fc.ipV4(), 32);
  inRange("ipv6", fc.ipV6(), 128);
});
