import assert from "node:assert/strict";
import { test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { addressesOf, compactPod, LabelSets, nodeAddresses, samePod } from "./known-addresses.ts";

function pod(spec: object = {}, status: object = {}): AnyObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "n", uid: "u", resourceVersion: "1", labels: { app: "web" } },
    spec: {
      nodeName: "n1",
      containers: [{ ports: [{ name: "http", containerPort: 80 }, { containerPort: 81 }] }],
      ...spec,
    },
    status: { phase: "Running", podIP: "10.0.0.1", podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }], ...status },
  };
}

test("compactPod keeps every address, the labels, and named ports; sidecars have ports too", () => {
  const sets = new LabelSets();
  const sidecar = { restartPolicy: "Always", ports: [{ name: "dns", containerPort: 53, protocol: "UDP" }] };
  const init = { ports: [{ name: "gone", containerPort: 1 }] };
  const known = addressesOf(compactPod(pod({ serviceAccountName: "sa", initContainers: [sidecar, init] }), sets));
  assert.deepEqual(
    known.map(({ ip }) => ip),
    ["10.0.0.1", "fd00::1"],
  );
  assert.deepEqual(known[0]?.set, {
    labels: { app: "web" },
    serviceAccount: "sa",
    ports: [
      { name: "http", protocol: "TCP", port: 80 },
      { name: "dns", protocol: "UDP", port: 53 },
    ],
  });
});

test("addressesOf leaves out pods that have no address of their own, have ended, or have no node", () => {
  const of = (spec: object, status: object = {}): number =>
    addressesOf(compactPod(pod(spec, status), new LabelSets())).length;
  assert.deepEqual(
    [of({ hostNetwork: true }), of({}, { phase: "Succeeded" }), of({}, { phase: "Failed" }), of({ nodeName: "" })],
    [0, 0, 0, 0],
  );
  assert.equal(of({}, { podIPs: undefined }), 1);
  assert.equal(of({}, { podIPs: [], podIP: undefined }), 0);
});

test("samePod sees what others see of a pod, and nothing else; equal labels are kept once", () => {
  const sets = new LabelSets();
  const [a, b] = [compactPod(pod(), sets), compactPod(pod({}, { startTime: "later" }), sets)];
  assert.ok(samePod(a, b));
  assert.equal(a.set, b.set);
  assert.ok(!samePod(a, compactPod(pod({}, { podIPs: [{ ip: "10.0.0.2" }] }), sets)));
  assert.ok(!samePod(a, compactPod(pod({ serviceAccountName: "x" }), sets)));
});

test("nodeAddresses gives each address of a node once", () => {
  const node = {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n1", labels: { zone: "a" } },
    addresses: ["192.0.2.1", "192.0.2.1", "fd00::2"],
    taints: [],
    isLost: false,
  };
  assert.deepEqual(
    nodeAddresses(node, new LabelSets()).map(({ of, ip, node: name }) => [of, ip, name]),
    [
      ["Node", "192.0.2.1", "n1"],
      ["Node", "fd00::2", "n1"],
    ],
  );
});
