import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import { families, namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [a, b] = [rigPod("x", "a", 1), rigPod("x", "b", 2)];
const pods = [a, b];
const ports = [80, 81, 82];
const patientMs = 400;

function networkPolicy(spec: object): KubeObject {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "n", namespace: "x" }, spec };
}

describe("policies that cannot be enforced, with real packets", () => {
  let rig: PolicyRig;
  before(async () => {
    rig = await PolicyRig.make("routed", pods, { ports });
    await rig.change({
      write: [
        namespaceObject("x", { env: "x" }),
        ...pods.map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name })),
      ],
    });
  });
  after(() => rig?.[Symbol.asyncDispose]());

  /** Ports that answer, by both families alike. */
  async function answered(from: RigPod, to: RigPod): Promise<string> {
    const probes = families.flatMap((family) =>
      ports.map((port) => ({ from: podKey(from), to: to[family], protocol: "TCP", port }) as const),
    );
    const met = await rig.prober.probe(probes, patientMs);
    return probes.flatMap(({ port }, at) => (met[at] === "answered" ? [port] : [])).join(" ");
  }

  async function stateOf(policy: KubeObject): Promise<string> {
    const { objects } = await rig.change({ write: [policy] });
    return JSON.stringify(objects.find(({ ref }) => ref.kind === policy.kind)?.status);
  }

  it("a NetworkPolicy that was never sound isolates what it selects, until it is corrected", async () => {
    const rules = (cidr: string) => ({ ingress: [{ from: [{ ipBlock: { cidr } }], ports: [{ port: 80 }] }] });
    const selector = { podSelector: { matchLabels: { app: "a" } } };
    assert.equal(await answered(b, a), "80 81 82 80 81 82");
    const status = await stateOf(networkPolicy({ ...selector, ...rules("010.0.0.0/8") }));
    assert.match(status, /"reason":"Invalid".*until it is corrected, the pods that it selects are closed in ingress/);
    assert.equal(await answered(b, a), "");
    assert.equal(await answered(a, b), "80 81 82 80 81 82");
    await rig.change({ write: [networkPolicy({ ...selector, ...rules("0.0.0.0/0") })] });
    assert.equal(await answered(b, a), "80");
    await rig.change({ remove: [refOfPolicy(networkPolicy({}))] });
    assert.equal(await answered(b, a), "80 81 82 80 81 82");
  });

  for (const [direction, others] of [
    ["ingress", "fromEndpoints"],
    ["egress", "toEndpoints"],
  ] as const) {
    const port80 = { ports: [{ port: "80", protocol: "TCP" }] };
    for (const [what, rule] of Object.entries({
      "rules.http": { [others]: [{}], toPorts: [{ ...port80, rules: { http: [{ method: "GET", path: "/" }] } }] },
      "rules.http, with nothing in it": { [others]: [{}], toPorts: [{ ...port80, rules: { http: [] } }] },
      serverNames: { [others]: [{}], toPorts: [{ ...port80, serverNames: ["shop.example.org"] }] },
      authentication: { [others]: [{}], toPorts: [port80], authentication: { mode: "required" } },
    }))
      it(`a rule with ${what} lets nobody through, ${direction}: other rules of its policy do, and denials hold`, async () => {
        const [selected, other] = direction === "ingress" ? [a, b] : [b, a];
        const cilium: KubeObject = {
          apiVersion: "cilium.io/v2",
          kind: "CiliumNetworkPolicy",
          metadata: { name: "c", namespace: "x" },
          spec: {
            endpointSelector: { matchLabels: { app: selected.name } },
            [direction]: [
              rule,
              { [others]: [{}], toPorts: [{ ports: ["81", "82"].map((port) => ({ port, protocol: "TCP" })) }] },
            ],
            [`${direction}Deny`]: [{ [others]: [{}], toPorts: [{ ports: [{ port: "82", protocol: "TCP" }] }] }],
          },
        };
        const status = await stateOf(cilium);
        assert.match(
          status,
          /"reason":"NotServed","message":"[^"]*(HTTP rules|server names of TLS|authentication of both)/,
        );
        assert.equal(await answered(b, a), "81 81");
        assert.equal(
          await answered(a, b),
          "80 81 82 80 81 82",
          `${other.name} is judged by nothing in the other direction`,
        );
        await rig.change({ remove: [refOfPolicy(cilium)] });
        assert.equal(await answered(b, a), "80 81 82 80 81 82");
      });
  }

  it("a rule with a field that nobody knows lets nobody through, the others do", async () => {
    const ingress = [{ ports: [{ port: 80 }] }, { form: [{ podSelector: {} }], ports: [{ port: 81 }] }];
    assert.match(await stateOf(networkPolicy({ ingress })), /nobody is let through by a rule with a field/);
    assert.equal(await answered(b, a), "80 80");
    await rig.change({ remove: [refOfPolicy(networkPolicy({}))] });
  });

  it("an object with more names than a node has room for is closed and says what helps, and no other is", async () => {
    const sending = (from: RigPod, to: RigPod, names: number): KubeObject => ({
      apiVersion: "cilium.io/v2",
      kind: "CiliumNetworkPolicy",
      metadata: { name: from.name, namespace: "x" },
      spec: {
        endpointSelector: { matchLabels: { app: from.name } },
        egress: [
          { toEndpoints: [{ matchLabels: { app: to.name } }], toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] },
          {
            toFQDNs: Array.from({ length: names }, (_, at) => ({
              matchName: `${createHash("sha1").update(String(at)).digest("hex")}.test`,
            })),
          },
        ],
      },
    });
    const told = async (policy: KubeObject): Promise<readonly string[]> => {
      const { objects } = await rig.change({ write: [policy] });
      const own = objects.filter(({ ref }) => ref.kind === policy.kind);
      return own
        .map(
          ({ ref, state, messages }) => `${ref.name} ${state}${state === "failed" ? `: ${messages.join("; ")}` : ""}`,
        )
        .toSorted();
    };
    assert.deepEqual(await told(sending(a, b, 2)), ["a in-force"]);
    assert.deepEqual(await told(sending(b, a, 2)), ["a in-force", "b in-force"]);
    assert.deepEqual([await answered(a, b), await answered(b, a)], ["80 80", "80 80"]);
    const [first, second] = await told(sending(a, b, 600));
    assert.match(
      first ?? "",
      /^a failed: .* take more than 16384 states .*: name fewer; until then nothing passes the pods/,
    );
    assert.equal(second, "b in-force");
    assert.deepEqual([await answered(a, b), await answered(b, a)], ["", "80 80"]);
    assert.deepEqual(await told(sending(a, b, 3)), ["a in-force", "b in-force"]);
    assert.deepEqual([await answered(a, b), await answered(b, a)], ["80 80", "80 80"]);
  });
});
