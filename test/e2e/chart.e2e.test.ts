import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { buildHelm } from "../../tools/build-whole-cluster.ts";

const skip = whyNoBuild() ?? false;
const root = join(import.meta.dirname, "../..");
const chart = join(root, "manifests/helm/bpfleet");

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; annotations?: Record<string, string> };
  readonly data?: Readonly<Record<string, string>>;
}

function read(text: string): Map<string, Manifest> {
  const objects = parseAllDocuments(text).flatMap((document) => (document.toJS() ?? []) as Manifest | []);
  return new Map(
    objects.map((object) => [`${object.kind} ${object.metadata.namespace ?? ""}/${object.metadata.name}`, object]),
  );
}

function template(...sets: readonly string[]): Map<string, Manifest> {
  const args = ["template", "bpfleet", chart, "--kube-version=1.36.0", ...sets.flatMap((set) => ["--set", set])];
  return read(execFileSync(buildHelm(), args, { encoding: "utf8", maxBuffer: 1 << 24 }));
}

test("the chart gives what make deploy applies, and keeps the CRDs when it is uninstalled", { skip }, () => {
  const rendered = execFileSync(process.execPath, [join(root, "tools/render-manifests.ts"), "all"], {
    encoding: "utf8",
    maxBuffer: 1 << 24,
  });
  const ours = read(rendered);
  const charted = template();
  for (const object of charted.values()) {
    if (object.kind !== "CustomResourceDefinition") continue;
    const { "helm.sh/resource-policy": policy, ...others } = object.metadata.annotations ?? {};
    assert.equal(policy, "keep", object.metadata.name);
    if (Object.keys(others).length === 0) delete object.metadata.annotations;
    else object.metadata.annotations = others;
  }
  assert.deepEqual([...charted.keys()].toSorted(), [...ours.keys()].toSorted());
  for (const [name, object] of ours) assert.deepEqual(charted.get(name), object, name);
});

test("the chart's values reach operator and configuration", { skip }, () => {
  const objects = template(
    "images.operator=example.com/o:1",
    "images.daemon=example.com/d:1",
    "images.pullPolicy=Always",
    "images.pullSecrets={one,two}",
    "replicas=3",
    "leaderElection.lockName=other",
    "logLevel=debug",
    "config.bpfleet\\.enforce\\.cilium=never",
    "config.bpfleet\\.raise-memlock=true",
    "nodes.nodeSelector.pool=edge",
    "nodes.tolerations[0].operator=Exists",
    "nodes.tolerations[0].effect=NoSchedule",
    "nodes.agentResources.limits.memory=512Mi",
    "metricsAddress=127.0.0.1",
    "crds.install=false",
  );
  assert.ok([...objects.keys()].every((name) => !name.startsWith("CustomResourceDefinition")));
  assert.deepEqual(objects.get("ConfigMap kube-system/bpfd-config")?.data, {
    "bpfd.agent.image": "bpfd-agent:latest",
    "bpfd.image": "example.com/d:1",
    "bpfd.log.level": "debug",
    "bpfleet.agent-resources": '{"limits":{"memory":"512Mi"}}',
    "bpfleet.enforce.cilium": "never",
    "bpfleet.image-pull-policy": "Always",
    "bpfleet.image-pull-secrets": "one,two",
    "bpfleet.metrics-address": "127.0.0.1",
    "bpfleet.node-selector": '{"pool":"edge"}',
    // A word that YAML takes for a boolean; a ConfigMap holds texts only.
    "bpfleet.raise-memlock": "true",
    "bpfleet.tolerations": '[{"effect":"NoSchedule","operator":"Exists"}]',
  });
  const deployment = JSON.stringify(objects.get("Deployment kube-system/podconfigmap-controller"));
  for (const part of [
    '"replicas":3',
    '"image":"example.com/o:1"',
    '"imagePullSecrets":[{"name":"one"},{"name":"two"}]',
    '"name":"LEADER_ELECTION_LOCK_NAME","value":"other"',
  ])
    assert.ok(deployment.includes(part), part);
  // The role allows the lease that is asked for, and no other.
  const role = JSON.stringify(objects.get("Role kube-system/podconfigmap-controller"));
  assert.ok(role.includes('"resourceNames":["other"]') && !role.includes("podconfigmap-controller-lock"), role);
});

test("the chart refuses values that nothing would come of", { skip }, () => {
  for (const [set, said] of [
    ["images.daemn=x", /daemn/],
    ["logLevel=loud", /logLevel/],
    ["replicas=0", /replicas/],
    ["crds.keep=maybe", /keep/],
    ["images.daemon=", /images\/daemon/],
    ["images.operator=a b", /images\/operator/],
    ["leaderElection.lockName=Not_A_Name", /lockName/],
    // Each of these has a value of its own; the key would be there twice.
    ["config.bpfd\\.image=other:1", /config/],
    ["config.bpfd\\.agent\\.image=other:1", /config/],
    ["config.bpfd\\.log\\.level=debug", /config/],
    ["config.bpfleet\\.image-pull-policy=Always", /config/],
  ] as const)
    assert.throws(() => template(set), said, set);
});
