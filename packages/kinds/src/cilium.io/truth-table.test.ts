import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../kind.ts";
import { findKind } from "../kinds.ts";
import type { Policy } from "@bpfleet/features";
import { compileWorld, judge, type World, type WorldPacket, type WorldPod } from "@bpfleet/features/testing";
import { findPolicy } from "../policy/read-policy.ts";
import {
  egressRows,
  hostRows,
  ingressRows,
  onA,
  policyOf,
  truthOf,
  truthProbes,
  type Spec,
} from "../testing/truth-table.ts";

function podOf(namespace: string, app: string, address: string): WorldPod {
  return {
    name: `${namespace}/${app}`,
    labels: { app },
    namespace,
    namespaceLabels: { env: namespace },
    serviceAccount: "default",
    namedPorts: [],
    addresses: [address],
    isOnThisNode: true,
  };
}

const pods: World["pods"] = [
  podOf("x", "a", "192.168.0.1"),
  podOf("x", "b", "192.168.0.2"),
  podOf("y", "a", "192.168.0.3"),
  podOf("y", "b", "192.168.0.4"),
];
const nodes: World["nodes"] = [
  { name: "here", labels: {}, addresses: ["172.16.0.1"], isThisNode: true },
  { name: "there", labels: {}, addresses: ["172.16.0.2"], isThisNode: false },
];
const places = [...pods, ...nodes].flatMap(({ addresses }) => addresses).concat("203.0.113.9", "10.1.2.3", "10.96.0.5");
const hostPlace = 4;

type Probe = Pick<WorldPacket, "protocol" | "port">;
function verdicts(
  policies: readonly Policy[],
  direction: "ingress" | "egress",
  probe: Probe,
  localHost: World["localHost"] = "never",
  subject = "x/a",
): string {
  const world = { pods, nodes, localHost };
  const compiled = compileWorld(policies, world);
  return places
    .map((peer) => {
      const packet = { pod: subject, direction, peer, ...probe };
      const { verdict } = judge(policies, world, packet);
      assert.equal(compiled.judge(packet).verdict, verdict === "allow" ? "pass" : "drop", JSON.stringify(packet));
      return verdict === "allow" ? "." : "X";
    })
    .join("");
}

function read(object: KubeObject): Policy {
  const result = findKind(object.apiVersion, object.kind)?.parse(object);
  assert.ok(result?.ok, JSON.stringify(result?.issues));
  return findPolicy(result.value) ?? assert.fail();
}

test("findPolicy reads policies such that every row of the truth table comes out", () => {
  for (const [side, table] of [
    ["ingress", ingressRows],
    ["egress", egressRows],
  ] as const) {
    for (const row of table) {
      const [name, objects] = row;
      const policies = objects.map(read);
      for (const [probeName, probe] of Object.entries(truthProbes)) {
        const never = truthOf(row, probeName as keyof typeof truthProbes);
        // The column of the host was taken with `never`; else the local host always reaches its pods.
        const auto = side === "ingress" ? `${never.slice(0, hostPlace)}.${never.slice(hostPlace + 1)}` : never;
        assert.equal(verdicts(policies, side, probe), never, `${name} ${probeName}`);
        assert.equal(verdicts(policies, side, probe, "auto"), auto, `${name} ${probeName}, auto`);
      }
    }
  }
});

test("findPolicy reads policies of nodes such that every row of the truth table comes out for a node", () => {
  for (const [side, table] of Object.entries(hostRows))
    for (const row of table)
      for (const [probeName, probe] of Object.entries(truthProbes)) {
        const expected = [...truthOf(row, probeName as keyof typeof truthProbes)].toSpliced(hostPlace, 1);
        const found = verdicts(row[1].map(read), side as "ingress", probe, "auto", "");
        assert.equal([...found].toSpliced(hostPlace, 1).join(""), expected.join(""), `${side} ${row[0]} ${probeName}`);
      }
});

test("CiliumNetworkPolicy refuses what the truth table calls invalid, and combines peers to their union", () => {
  const issues = (spec: Spec): readonly string[] => {
    const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy");
    const object = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p" }, spec };
    return kind?.parse(object).issues.map(({ severity, message }) => `${severity} ${message}`) ?? [];
  };
  assert.deepEqual(issues({ nodeSelector: {}, ingress: [{}] }), [
    "error spec.nodeSelector: is for CiliumClusterwideNetworkPolicy only",
  ]);
  assert.deepEqual(issues({ ...onA, ingress: [] }), [
    "error spec: must have at least one rule in ingress, ingressDeny, egress or egressDeny",
  ]);
  // R26: Cilium refuses it. The documents combine peers, and mean any of them.
  const both = { egress: [{ toEndpoints: [{}], toCIDR: ["10.0.0.0/8"] }] };
  assert.match(issues({ ...onA, ...both }).join(), /^warning spec\.egress\[0\]\.toCIDR: stands beside toEndpoints/);
  assert.equal(verdicts([read(policyOf(both))], "egress", { protocol: "TCP", port: 1 }), "..XXXXX..");
});
