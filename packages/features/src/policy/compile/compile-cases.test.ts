import assert from "node:assert/strict";
import { test } from "node:test";
import type { Requirement } from "../policy.ts";
import { compileWorld } from "../testing/compiled-world.ts";
import type { World, WorldPacket, WorldPod } from "../testing/world.ts";
import { cidr, label, namedTcp, podsWith, policyOf, tcp } from "../testing/written-policy.ts";
import { policyLimits } from "./limits.ts";

function pod(name: string, app: string, address: string, change: Partial<WorldPod> = {}): WorldPod {
  return {
    name,
    namespace: "x",
    labels: { app },
    namespaceLabels: {},
    serviceAccount: "",
    namedPorts: [],
    addresses: [address],
    isOnThisNode: true,
    ...change,
  };
}

const node = { name: "node", labels: {}, addresses: ["172.16.0.1"], isThisNode: true };
const world: World = {
  pods: [
    pod("a", "a", "10.0.0.1", { namedPorts: [{ name: "http", protocol: "TCP", port: 8080 }] }),
    pod("b", "b", "10.0.0.2", { namedPorts: [{ name: "http", protocol: "TCP", port: 80 }] }),
    pod("c", "c", "10.0.0.3", { isOnThisNode: false }),
  ],
  nodes: [node],
  localHost: "never",
};
const onA = { where: [label("app", "a")] };
const packet = (peer: string, port: number, change: Partial<WorldPacket> = {}): WorldPacket => ({
  pod: "a",
  direction: "ingress",
  peer,
  protocol: "TCP",
  port,
  ...change,
});

type Compiled = ReturnType<typeof compileWorld>;

/** Text of the rule that decides. */
function deciding({ compiled, judge }: Compiled, asked: WorldPacket): string {
  const { verdict, rule } = judge(asked);
  return `${verdict} ${compiled.rules.find(({ index }) => index === rule)?.text ?? "by default"}`;
}

test("compilePolicy reports of several rules that allow the most specific, and what denies before", () => {
  const compiled = compileWorld(
    [
      policyOf("wide", { ...onA, ingress: { allow: [{}, { ports: [tcp(1, 1000)] }, { ports: [tcp(80)] }] } }),
      policyOf("narrow", {
        ...onA,
        ingress: { allow: [{ peers: [podsWith(label("app", "b"))], ports: [tcp(80)] }], deny: [{ ports: [tcp(22)] }] },
      }),
    ],
    world,
  );
  assert.equal(deciding(compiled, packet("10.0.0.2", 80)), "pass allow ingress from pods app=b at TCP 80");
  assert.equal(deciding(compiled, packet("10.0.0.3", 80)), "pass allow ingress from anybody at TCP 80");
  assert.equal(deciding(compiled, packet("10.0.0.3", 81)), "pass allow ingress from anybody at TCP 1-1000");
  assert.equal(deciding(compiled, packet("10.0.0.3", 2000)), "pass allow ingress from anybody");
  assert.equal(deciding(compiled, packet("10.0.0.2", 22)), "drop deny ingress from anybody at TCP 22");
});

test("judgeTable refuses a question for another name also where nothing is denied by default, whoever is meant by a name", () => {
  const origin = { object: { group: "g", kind: "K", namespace: "x", name: "o" }, path: "" };
  const only = { is: "name", text: "a.test" } as const;
  const dns = { origin, match: "ports", protocol: "UDP", from: 53, to: 53, dns: [only] } as const;
  const server = { origin, peer: "name", name: { is: "name", text: "dns.test" } } as const;
  const known: World = { ...world, names: [{ pod: "a", address: "203.0.113.9", name: "dns.test" }] };
  for (const peers of ["any", [server]] as const) {
    const open = policyOf("p", { ...onA, egress: { isDefaultDeny: false, allow: [{ peers, ports: [dns] }] } });
    const compiled = compileWorld([open], known);
    const ask = (asks: string, peer = "203.0.113.9"): string =>
      compiled.judge(packet(peer, 53, { direction: "egress", protocol: "UDP", asks })).reason;
    assert.deepEqual([ask("a.test"), ask("b.test")], ["allowed", "dns_name_refused"]);
    assert.equal(ask("b.test", "203.0.113.10"), peers === "any" ? "dns_name_refused" : "allowed_by_default");
  }
});

test("judgeTable names a rule about a name also where nothing is denied by default, whatever the other tiers say", () => {
  const origin = { object: { group: "g", kind: "K", namespace: "x", name: "o" }, path: "" };
  const peer = { origin, peer: "name", name: { is: "name", text: "a.test" } } as const;
  const known: World = { ...world, names: [{ pod: "a", address: "203.0.113.9", name: "a.test" }] };
  const to = (address: string): WorldPacket => packet(address, 80, { direction: "egress" });
  const byName = policyOf("p", { ...onA, egress: { isDefaultDeny: false, allow: [{ peers: [peer] }] } });
  const container = { policy: policyOf("c", { ...onA, egress: { allow: [{}] } }), priority: 1 };
  const alone = compileWorld([byName], known);
  assert.equal(deciding(alone, to("203.0.113.9")), "pass allow egress to a.test");
  assert.equal(deciding(alone, to("203.0.113.10")), "pass by default");
  const beside = compileWorld([byName], known, { container: [container] });
  assert.equal(deciding(beside, to("203.0.113.9")), "pass allow egress to a.test");
  assert.equal(deciding(beside, to("203.0.113.10")), "pass allow egress to anybody");
});

test("compilePolicy lets nobody ask for any name by an empty list of names", () => {
  const origin = { object: { group: "g", kind: "K", namespace: "x", name: "o" }, path: "" };
  const dns = { origin, match: "ports", protocol: "UDP", from: 53, to: 53, dns: [] } as const;
  for (const ports of [[dns], [dns, tcp(80)]]) {
    const { compiled, judge } = compileWorld([policyOf("p", { ...onA, egress: { allow: [{ ports }] } })], world);
    assert.ok(compiled.table.names !== undefined, "somebody looks at questions");
    for (const asks of ["a.test", undefined]) {
      const question = packet("203.0.113.1", 53, { direction: "egress", protocol: "UDP", asks });
      assert.equal(judge(question).verdict, "drop", String(asks));
    }
  }
});

test("compilePolicy takes a port's name as the pod's own for what it receives, as each peer's for what it sends", () => {
  const http = { allow: [{ ports: [namedTcp("http")] }] };
  const { judge } = compileWorld([policyOf("p", { ingress: http, egress: http })], world);
  const verdict = (...of: Parameters<typeof packet>): string => judge(packet(...of)).verdict;
  assert.equal(verdict("203.0.113.1", 8080), "pass");
  assert.equal(verdict("203.0.113.1", 80), "drop");
  assert.equal(verdict("203.0.113.1", 80, { pod: "b" }), "pass");
  assert.equal(verdict("10.0.0.2", 80, { direction: "egress" }), "pass");
  assert.equal(verdict("10.0.0.2", 8080, { direction: "egress" }), "drop");
  assert.equal(verdict("203.0.113.1", 80, { direction: "egress" }), "drop");
});

test("compilePolicy takes a port's name with a last port for the range that begins there, or for it alone", () => {
  const http = { allow: [{ ports: [{ ...namedTcp("http"), to: 443 }] }] };
  const { judge } = compileWorld([policyOf("p", { ingress: http, egress: http })], world);
  const passes = (...of: Parameters<typeof packet>): boolean => judge(packet(...of)).verdict === "pass";
  const among = [79, 80, 443, 444, 8079, 8080, 8081];
  const open = (more: Parameters<typeof packet>[2]): readonly number[] =>
    among.filter((port) => passes(more?.direction === "egress" ? "10.0.0.2" : "203.0.113.1", port, more));
  assert.deepEqual(open({ pod: "b" }), [80, 443]);
  assert.deepEqual(open({}), [8080], "its own port lies behind the last one");
  assert.deepEqual(open({ direction: "egress" }), [80, 443]);
});

test("compilePolicy shares the tables of pods that are judged alike", () => {
  const pods = Array.from({ length: 40 }, (_, at) => pod(`p${at}`, "a", `10.1.0.${at}`));
  const policy = policyOf("p", { ...onA, ingress: { allow: [{ ports: [tcp(80)] }] }, egress: {} });
  const { table } = compileWorld([policy], { ...world, pods }).compiled;
  assert.equal(table.endpoints.length, 40);
  assert.equal(table.tables.length, 2);
  assert.deepEqual(table.addresses, []);
});

test("compilePolicy lets the fallback decide in its order, and only where no other policy has a say", () => {
  const upTo = (port: number, list: "allow" | "deny") => ({
    [list]: [{ ports: [tcp(1, port)] }],
    isDefaultDeny: false,
  });
  const closing = { isDefaultDeny: true };
  const fallback = [
    { priority: 20, policy: policyOf("a", { ingress: upTo(3, "deny") }, { ingress: closing, egress: closing }) },
    { priority: 10, policy: policyOf("b", { ingress: upTo(1, "allow") }, { egress: upTo(2, "allow") }) },
    { priority: 20, policy: policyOf("c", { ingress: upTo(4, "allow") }) },
  ];
  const { judge } = compileWorld([policyOf("p", { ...onA, ingress: { allow: [{ ports: [tcp(3)] }] } })], world, {
    fallback,
  });
  const passing = (pod: string, direction: "ingress" | "egress"): string =>
    [1, 2, 3, 4, 5].filter((port) => judge(packet("10.0.0.3", port, { pod, direction })).verdict === "pass").join();
  assert.equal(passing("a", "ingress"), "3");
  assert.equal(passing("a", "egress"), "1,2");
  assert.equal(passing("b", "ingress"), "1,4");
});

test("compilePolicy wants containers and their ports to allow too, each by its own rules", () => {
  const open = { isDefaultDeny: false };
  const upTo = (port: number, list: "allow" | "deny") => ({ [list]: [{ ports: [tcp(1, port)] }], ...open });
  const tiers = {
    container: [
      { priority: 20, policy: policyOf("a", { ingress: upTo(2, "deny") }, { ingress: { isDefaultDeny: true } }) },
      { priority: 10, policy: policyOf("b", { ingress: upTo(1, "allow") }, { ingress: upTo(5, "allow") }) },
    ],
    l4: [
      policyOf("l", { ingress: { allow: [{ ports: [tcp(1, 4)] }], isDefaultDeny: true } }),
      policyOf("m", { ...onA, ingress: { deny: [{ ports: [tcp(2)] }], ...open } }),
    ],
  };
  const first = policyOf("p", { ...onA, ingress: { allow: [{ ports: [tcp(2, 9)] }] } });
  const { judge, compiled } = compileWorld([first], world, tiers);
  const passing = (pod: string, direction: "ingress" | "egress"): string =>
    [1, 2, 3, 4, 5, 6].filter((port) => judge(packet("10.0.0.3", port, { pod, direction })).verdict === "pass").join();
  assert.equal(passing("a", "ingress"), "3,4");
  assert.equal(passing("b", "ingress"), "1,2,3,4");
  assert.equal(passing("b", "egress"), "1,2,3,4,5,6");
  assert.deepEqual(
    compiled.table.endpoints.map(({ ingress, egress }) => [ingress.length, egress.length]),
    [
      [3, 0],
      [2, 0],
    ],
  );
});

test("compilePolicy takes an address that two claim for none that is let through, and for any that is denied", () => {
  const local = [...world.pods, pod("d", "b", "10.0.0.3")].map((each) => ({ ...each, isOnThisNode: true }));
  const fromC = { peers: [podsWith(label("app", "c"))] };
  const allowing = compileWorld([policyOf("p", { ...onA, ingress: { allow: [fromC] } })], { ...world, pods: local });
  assert.equal(allowing.judge(packet("10.0.0.3", 80)).verdict, "drop");
  const denying = compileWorld([policyOf("p", { ...onA, ingress: { allow: [{}], deny: [fromC] } })], {
    ...world,
    pods: local,
  });
  assert.equal(denying.judge(packet("10.0.0.3", 80)).verdict, "drop");
});

test("compilePolicy refuses the object that takes most beyond a limit, and closes whom it selects", () => {
  const prefixes = Array.from({ length: 50 }, (_, at) => ({
    peers: [cidr(`198.51.${at}.0/24`)],
    ports: [tcp(at + 1)],
  }));
  const large = policyOf("large", { ...onA, ingress: { allow: prefixes } });
  const small = policyOf("small", { where: [label("app", "b")], ingress: { allow: [{ ports: [tcp(80)] }] } });
  for (const limits of [{ cells: 20 }, { rows: 20 }, { columns: 20 }, { addresses: 20 }, { rowBytes: 60 }]) {
    const { compiled, judge } = compileWorld([large, small], world, { limits: { ...policyLimits, ...limits } });
    const [closed, ...others] = compiled.closed;
    assert.deepEqual([closed?.ref.name, others.length], ["large", 0], JSON.stringify(limits));
    assert.equal(judge(packet("198.51.3.1", 4)).verdict, "drop");
    assert.equal(judge(packet("198.51.3.1", 80, { pod: "b" })).verdict, "pass");
    assert.equal(judge(packet("198.51.3.1", 81, { pod: "b" })).verdict, "drop");
  }
});

test("compilePolicy gives equal serials for equal meaning, and others when anything changes", () => {
  const serialOf = (...of: Parameters<typeof compileWorld>): bigint => compileWorld(...of).compiled.table.serial;
  const policy = (port: number) => [policyOf("p", { ...onA, ingress: { allow: [{ ports: [tcp(port)] }] } })];
  const first = serialOf(policy(80), world);
  assert.equal(serialOf(policy(80), world), first);
  assert.notEqual(serialOf(policy(81), world), first);
  assert.notEqual(serialOf(policy(80), { ...world, localHost: "auto" }), first);
});

test("compilePolicy takes no namespace that is not known for one without a label", () => {
  const unknown = { isNamespaceUnknown: true, namespaceLabels: { "kubernetes.io/metadata.name": "y" } } as const;
  const [a, b, c] = [
    pod("a", "a", "10.0.0.1"),
    pod("b", "b", "10.0.0.2", { namespace: "y", ...unknown }),
    pod("c", "c", "10.0.0.3", { namespace: "z", isOnThisNode: false }),
  ];
  const judge = (where: Requirement, list: "allow" | "deny", asked: WorldPacket): string =>
    compileWorld(
      [policyOf("p", { ingress: { [list]: [{ peers: [podsWith(where)] }], isDefaultDeny: list === "allow" } })],
      { ...world, pods: [a, b, c] },
    ).judge(asked).verdict;
  const lacking = (key: string, operator: "NotIn" | "DoesNotExist", ...values: readonly string[]): Requirement => ({
    on: "namespace-label",
    key,
    operator,
    values,
  });
  for (const where of [lacking("env", "NotIn", "x"), lacking("env", "DoesNotExist")]) {
    assert.equal(judge(where, "allow", packet("10.0.0.2", 80)), "drop");
    assert.equal(judge(where, "deny", packet("10.0.0.2", 80)), "drop");
    assert.equal(judge(where, "allow", packet("10.0.0.3", 80)), "pass");
  }
  const named = lacking("kubernetes.io/metadata.name", "NotIn", "x");
  assert.equal(judge(named, "allow", packet("10.0.0.2", 80)), "pass");

  const toAll = compileWorld([policyOf("p", { where: [lacking("env", "NotIn", "x")], ingress: { allow: [{}] } })], {
    ...world,
    pods: [a, b, c],
  });
  assert.equal(toAll.judge(packet("10.0.0.3", 80)).verdict, "pass");
  assert.equal(toAll.judge(packet("10.0.0.3", 80, { pod: "b" })).verdict, "drop");
});
