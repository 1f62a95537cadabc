import assert from "node:assert/strict";
import { test } from "node:test";
import type { WorkloadIntent } from "@bpfleet/features";
import { issueLines, readAll } from "../../testing/read-all.ts";
import { annotatedEndpoint } from "./lower.ts";

function pod(annotations: string): string {
  return `apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  labels: {app: web}\n  annotations: ${annotations}\nspec: {containers: [{name: c, image: x}]}\n`;
}

test("Pod keeps its spec as it is, and says who it is", () => {
  const { parsed, issues, facts } = readAll(pod("{bpfleet.io/netns: web, bpfleet.io/cgroup: apps/web}"));
  assert.deepEqual(issues, []);
  assert.deepEqual(parsed[0]?.ref, { group: "", kind: "Pod", namespace: "default", name: "web" });
  assert.deepEqual(parsed[0]?.object.spec, { containers: [{ name: "c", image: "x" }] });
  const origin = { object: parsed[0]?.ref, path: "", position: undefined };
  const [intent] = facts();
  assert.deepEqual(
    { ...intent, origin: { ...intent?.origin, position: undefined } },
    {
      feature: "policy",
      about: "workload",
      isFact: true,
      origin,
      pod: parsed[0]?.ref,
      labels: { app: "web" },
      namespaceLabels: { "kubernetes.io/metadata.name": "default" },
      isNamespaceUnknown: true,
      serviceAccount: "default",
      namedPorts: [],
      addresses: [],
      isHostNetwork: false,
      endpoint: "default/web",
    },
  );
});

function workload(fields: object, others = ""): WorkloadIntent | undefined {
  const object = { apiVersion: "v1", kind: "Pod", metadata: { name: "web", uid: "u-1" }, ...fields };
  return readAll(`${JSON.stringify(object)}\n${others}`).facts()[0] as WorkloadIntent | undefined;
}

test("Pod is an endpoint where it runs on this node, with an interface of its own", () => {
  const status = { phase: "Running", podIP: "10.0.0.7", podIPs: [{ ip: "10.0.0.7" }, { ip: "fd00::7" }] };
  const here = workload({ spec: { nodeName: "node-1" }, status });
  assert.deepEqual([here?.endpoint, here?.addresses], ["u-1", ["10.0.0.7", "fd00::7"]]);
  const elsewhere = workload({ spec: { nodeName: "node-2" }, status: { podIP: "10.0.0.7" } });
  assert.deepEqual([elsewhere?.endpoint, elsewhere?.addresses], [undefined, ["10.0.0.7"]]);
  const onHost = workload({ spec: { nodeName: "node-1", hostNetwork: true }, status });
  assert.deepEqual([onHost?.isHostNetwork, onHost?.endpoint, onHost?.addresses], [true, undefined, []]);
  for (const phase of ["Succeeded", "Failed"])
    assert.equal(workload({ spec: { nodeName: "node-1" }, status: { ...status, phase } }), undefined, phase);
  assert.equal(workload({})?.endpoint, undefined);
});

test("Pod names the ports of its containers and of containers beside them, and its service account", () => {
  const container = (name: string, protocol?: string): object => ({
    ports: [{ name, containerPort: 80, protocol }, { containerPort: 81 }],
  });
  const spec = {
    serviceAccountName: "shop",
    containers: [container("http"), container("dns", "UDP"), container("odd", "X"), { name: "none" }],
    initContainers: [container("once"), { ...container("beside"), restartPolicy: "Always" }],
  };
  const intent = workload({ spec });
  assert.equal(intent?.serviceAccount, "shop");
  assert.deepEqual(
    intent?.namedPorts.map(({ name, protocol, port }) => `${name} ${protocol}/${port}`),
    ["http TCP/80", "dns UDP/80", "beside TCP/80"],
  );
});

test("Pod has the labels of its namespace, which always has its name", () => {
  const namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {team: shop}}\n";
  assert.deepEqual(workload({}, namespace)?.namespaceLabels, {
    team: "shop",
    "kubernetes.io/metadata.name": "default",
  });
});

test("annotatedEndpoint says where the interface of a pod is looked for", () => {
  const { parsed } = readAll(pod("{bpfleet.io/netns: web, bpfleet.io/cgroup: apps/web}"));
  const [object] = parsed.map((each) => each.object);
  assert.ok(object !== undefined);
  assert.deepEqual(annotatedEndpoint(object), {
    key: "default/web",
    pod: { namespace: "default", name: "web", uids: [] },
    netns: "web",
    cgroups: ["apps/web"],
  });
});

test("Pod refuses network namespaces and cgroups that cannot be", () => {
  const errors = (annotations: string): string[] =>
    issueLines(pod(annotations)).map((line) => line.replace(/^6: error metadata\.annotations/, ""));
  assert.match(
    errors("{bpfleet.io/netns: a/b}")[0] ?? "",
    /^\["bpfleet\.io\/netns"\]: must be the name of a network namespace/,
  );
  for (const path of ["/", "../x", "a//b", "a/./b", '""']) {
    assert.match(errors(`{bpfleet.io/cgroup: ${path}}`)[0] ?? "", /must be a path below the cgroup v2 mount/, path);
  }
  assert.match(errors("{bpfleet.io/cgroup: 5}")[0] ?? "", /must be text, is 5; put it in quotes/);
});

test("Pod may stand without a spec", () => {
  assert.deepEqual(issueLines("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"), []);
});
