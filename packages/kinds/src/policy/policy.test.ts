import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parsePrefix } from "../address/prefix.ts";
import { parseBandwidth } from "./bandwidth.ts";
import { containsPrefix } from "./contains-prefix.ts";
import { matchesName, toName, toNamePattern } from "./names.ts";
import type { Requirement } from "@bpfleet/features";
import { meetsAll, parseSelectorKey } from "./requirements.ts";

test("matchesName means what Cilium means by names and patterns", () => {
  const cases: readonly (readonly [pattern: string, yes: readonly string[], no: readonly string[]])[] = [
    ["Cilium.io", ["cilium.io", "CILIUM.IO."], ["www.cilium.io", "ciliumxio", "cilium.io.x"]],
    ["*.cilium.io", ["sub.cilium.io", "a-b_c.cilium.io"], ["cilium.io", "a.b.cilium.io", "subcilium.io"]],
    ["sub*.cilium.io", ["sub.cilium.io", "subx.cilium.io"], ["xsub.cilium.io", "sub.x.cilium.io"]],
    ["s*b*.io", ["sb.io", "sxxbxx.io"], ["bs.io", "s.io"]],
    ["*.*.io", ["a.b.io"], ["a.io", "a.b.c.io"]],
    ["**.cilium.io", ["a.cilium.io", "a.b.c.cilium.io"], ["cilium.io", "xcilium.io"]],
    ["*", ["a", "a.b.c", ""], []],
    ["**", ["a", "a.b.c"], []],
  ];
  for (const [pattern, yes, no] of cases) {
    for (const name of yes) assert.equal(matchesName(toNamePattern(pattern), name), true, `${pattern} ${name}`);
    for (const name of no) assert.equal(matchesName(toNamePattern(pattern), name), false, `${pattern} ${name}`);
  }
});

test("matchesName decides as a regular expression made of the pattern", () => {
  const label = fc.stringMatching(/^[ab]{1,3}$/);
  const wild = fc.stringMatching(/^[ab*]{1,4}$/).filter((text) => !text.includes("**"));
  fc.assert(
    fc.property(
      fc.array(wild, { minLength: 2, maxLength: 3 }),
      fc.array(label, { minLength: 1, maxLength: 4 }),
      (pattern, name) => {
        const text = pattern.join(".");
        const expected = new RegExp(`^${text.replaceAll(".", "\\.").replaceAll("*", "[^.]*")}$`).test(name.join("."));
        assert.equal(matchesName(toNamePattern(text), name.join(".")), expected);
      },
    ),
  );
  fc.assert(fc.property(label, (name) => matchesName(toName(name.toUpperCase()), name)));
});

test("parseBandwidth reads rates as people write them", () => {
  const cases: readonly (readonly [string | number, number | undefined])[] = [
    ["50M", 50e6],
    ["1Gbit", 1e9],
    ["1.5 Mbps", 1_500_000],
    ["512Ki", 524_288],
    ["10kbit/s", 10_000],
    [1_000_000, 1_000_000],
    ["7", 7],
    ["0", undefined],
    ["fast", undefined],
    ["-1M", undefined],
    ["1e9", undefined],
    ["", undefined],
  ];
  for (const [text, bits] of cases) assert.equal(parseBandwidth(text), bits, String(text));
});

test("containsPrefix compares the bits that both have", () => {
  const prefix = (text: string) => {
    const read = parsePrefix(text);
    return read.ok ? read.prefix : assert.fail(text);
  };
  const holds = (whole: string, part: string): boolean => containsPrefix(prefix(whole), prefix(part));
  assert.ok(holds("10.0.0.0/8", "10.255.0.0/16") && holds("10.0.0.0/8", "10.0.0.0/8") && holds("::/0", "2001:db8::1"));
  assert.ok(!holds("10.0.0.0/8", "10.0.0.0/7") && !holds("10.0.0.0/8", "11.0.0.1") && !holds("0.0.0.0/0", "::/0"));
});

test("meetsAll holds requirements against what each of them looks at", () => {
  const facts = {
    labels: { app: "web" },
    namespace: "shop",
    namespaceLabels: { team: "t" },
    serviceAccount: "sa",
  };
  const meets = (key: string, operator: Requirement["operator"], ...values: readonly string[]): boolean =>
    meetsAll([{ ...parseSelectorKey(key), operator, values }], facts);
  for (const [key, value] of [
    ["app", "web"],
    ["k8s:app", "web"],
    ["any:app", "web"],
    ["io.kubernetes.pod.namespace", "shop"],
    ["k8s:io.cilium.k8s.namespace.labels.team", "t"],
    ["io.cilium.k8s.policy.serviceaccount", "sa"],
    ["io.cilium.k8s.policy.cluster", "default"],
  ] as const) {
    assert.ok(meets(key, "In", "x", value) && !meets(key, "In", "x") && meets(key, "Exists"), key);
    assert.ok(meets(key, "NotIn", "x") && !meets(key, "NotIn", value) && !meets(key, "DoesNotExist"), key);
  }
  for (const key of ["reserved:host", "container:app", "toString", "none"])
    assert.ok(!meets(key, "Exists") && meets(key, "DoesNotExist") && meets(key, "NotIn", "web"), key);
});
