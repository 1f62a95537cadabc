import assert from "node:assert/strict";
import { test } from "node:test";
import { findKind } from "../../kinds.ts";
import type { Policy } from "@bpfleet/features";
import { findPolicy } from "../../policy/read-policy.ts";

const kind = findKind("networking.k8s.io/v1", "NetworkPolicy") ?? assert.fail();

function parse(spec: unknown): ReturnType<typeof kind.parse> {
  const metadata = { name: "p", namespace: "x" };
  return kind.parse({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec });
}

function statementOf(spec: unknown): Policy["statements"][number] {
  const result = parse(spec);
  assert.ok(result.ok, result.issues.map(({ message }) => message).join("; "));
  return findPolicy(result.value)?.statements[0] ?? assert.fail();
}

const ofX = { on: "namespace-name", key: "", operator: "In", values: ["x"] };

test("NetworkPolicy refuses what an API server refuses", () => {
  const faults: readonly (readonly [unknown, RegExp])[] = [
    [undefined, /^spec: is required/],
    [{ podSelector: [] }, /^spec\.podSelector: must be a mapping/],
    [{ policyTypes: ["ingress"] }, /policyTypes\[0\]: must be one of Ingress, Egress.*did you mean Ingress/],
    [{ ingress: [{ ports: [{ port: 0 }] }] }, /port: must be 1 to 65535, is 0/],
    [{ ingress: [{ ports: [{ port: "80" }] }] }, /port: must be a number, or a name in lower case, is "80"/],
    [{ ingress: [{ ports: [{ port: "HTTP" }] }] }, /port: must be a number, or a name in lower case/],
    [{ ingress: [{ ports: [{ port: "http", endPort: 90 }] }] }, /endPort: needs a port that is a number/],
    [{ ingress: [{ ports: [{ endPort: 90 }] }] }, /endPort: needs a port/],
    [{ ingress: [{ ports: [{ port: 91, endPort: 90 }] }] }, /endPort: must be at least port, which is 91, is 90/],
    [{ ingress: [{ ports: [{ protocol: "ICMP" }] }] }, /protocol: must be one of TCP, UDP, SCTP/],
    [{ ingress: [{ from: [{}] }] }, /from\[0\]: must have podSelector, namespaceSelector or ipBlock/],
    [
      { ingress: [{ from: [{ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }] }] },
      /must not stand beside selectors/,
    ],
    [{ egress: [{ to: [{ ipBlock: { cidr: "10.0.0.1" } }] }] }, /cidr: must be an IPv4 or IPv6 CIDR, is "10\.0\.0\.1"/],
    [
      { egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/8"] } }] }] },
      /except\[0\]: must lie within/,
    ],
    [
      { egress: [{ to: [{ podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }] }] },
      /values: is required for operators In and NotIn/,
    ],
  ];
  for (const [spec, message] of faults) {
    const result = parse(spec);
    assert.equal(result.ok, false, JSON.stringify(spec));
    assert.match(result.issues.find(({ severity }) => severity === "error")?.message ?? "", message);
  }
});

test("findPolicy reads a NetworkPolicy: nothing written means everything, and its blocks mean pods too", () => {
  const open = statementOf({ podSelector: {}, ingress: [{}], egress: [{ to: [], ports: [] }] });
  assert.deepEqual(
    [...open.ingress.allow, ...open.egress.allow].map(({ peers, ports }) => [peers, ports]),
    [
      ["any", "any"],
      ["any", "any"],
    ],
  );
  assert.deepEqual(open.subject.where, [ofX]);
  const closed = statementOf({});
  assert.deepEqual([closed.ingress.isDefaultDeny, closed.egress.isDefaultDeny], [true, false]);
  assert.deepEqual(closed.ingress.allow, []);
  const empty = statementOf({ policyTypes: [], egress: [{}] });
  assert.deepEqual([empty.ingress.isDefaultDeny, empty.egress.isDefaultDeny], [true, true]);
  assert.deepEqual(parse({ policyTypes: [], ingress: [{}], egress: [{}] }).issues, []);
  const both = statementOf({ policyTypes: ["Egress"], ingress: [{}] });
  assert.deepEqual([both.ingress.isDefaultDeny, both.ingress.allow, both.egress.isDefaultDeny], [false, [], true]);
  assert.match(
    parse({ policyTypes: ["Egress"], ingress: [{}] }).issues[0]?.message ?? "",
    /has no effect: Ingress is not/,
  );

  const { ingress } = statementOf({
    ingress: [
      {
        from: [
          { podSelector: { matchLabels: { app: "b" } } },
          { namespaceSelector: {} },
          { namespaceSelector: { matchLabels: { team: "t" } }, podSelector: { matchLabels: { app: "c" } } },
          { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } },
        ],
        ports: [{ port: 80 }, { protocol: "UDP" }, { port: "dns", protocol: "UDP" }, { port: 90, endPort: 99 }],
      },
    ],
  });
  const [rule] = ingress.allow;
  assert.ok(rule !== undefined && rule.peers !== "any" && rule.ports !== "any");
  const label = (on: string, key: string, value: string): unknown => ({ on, key, operator: "In", values: [value] });
  assert.deepEqual(
    rule.peers.map((peer) => (peer.peer === "pods" ? peer.where : peer.peer)),
    [
      [ofX, label("pod", "app", "b")],
      [],
      [label("namespace-label", "team", "t"), label("pod", "app", "c")],
      "addresses",
    ],
  );
  const last = rule.peers[3];
  assert.ok(last?.peer === "addresses");
  assert.deepEqual([last.matches, last.prefix.length, last.except[0]?.length], ["everything", 8, 16]);
  assert.equal(last.origin.path, "/spec/ingress/0/from/3");
  assert.deepEqual(
    rule.ports.map((port) => ({ ...port, origin: undefined })),
    [
      { match: "ports", protocol: "TCP", from: 80, to: 80, dns: undefined, origin: undefined },
      { match: "ports", protocol: "UDP", from: 0, to: 65535, dns: undefined, origin: undefined },
      { match: "named-port", protocol: "UDP", name: "dns", dns: undefined, origin: undefined },
      { match: "ports", protocol: "TCP", from: 90, to: 99, dns: undefined, origin: undefined },
    ],
  );
});

test("NetworkPolicy has no CRD, and keeps its spec as an API server would", () => {
  assert.equal(kind.crd(), undefined);
  const result = parse({ podSelector: {}, ingress: [{ ports: [{ port: 80 }], x: 1 }] });
  assert.ok(result.ok);
  assert.deepEqual(result.value.object.spec, {
    podSelector: {},
    ingress: [{ ports: [{ port: 80, protocol: "TCP" }] }],
  });
  assert.deepEqual(
    result.issues.map(({ message }) => message),
    ["spec.ingress[0].x: unknown field, so nothing passes by the rule"],
  );
});
