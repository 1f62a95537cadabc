import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";

const skip = whyNoBuild() ?? false;
const root = join(import.meta.dirname, "../..");

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: object;
  readonly data?: Readonly<Record<string, string>>;
}

function read(text: string): ReadonlyMap<string, Manifest> {
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  return new Map(
    objects.map((object) => [`${object.kind} ${object.metadata.namespace ?? ""}/${object.metadata.name}`, object]),
  );
}

function kustomize(folder: string): ReadonlyMap<string, Manifest> {
  const kubectl = join(buildControlPlane(), "kubectl");
  return read(execFileSync(kubectl, ["kustomize", join(root, folder)], { encoding: "utf8", maxBuffer: 1 << 24 }));
}

function render(what: string, env: NodeJS.ProcessEnv = {}): ReadonlyMap<string, Manifest> {
  const args = [join(root, "tools/render-manifests.ts"), what];
  const options = { encoding: "utf8", maxBuffer: 1 << 24, env: { ...process.env, ...env } } as const;
  return read(execFileSync(process.execPath, args, options));
}

test("kubectl kustomize manifests/base/ebpf gives what make deploy applies", { skip }, () => {
  const [by, ours] = [kustomize("manifests/base/ebpf"), render("all")];
  assert.deepEqual([...by.keys()].toSorted(), [...ours.keys()].toSorted());
  for (const [name, object] of ours) assert.deepEqual(by.get(name), object, name);
});

test("make deploy names the images that are asked for, everywhere", () => {
  const env = {
    BPFD_IMG: "example.com/d:1",
    BPFD_AGENT_IMAGE: "example.com/a:1",
    BPFD_OPERATOR_IMG: "example.com/o:1",
  };
  const objects = render("rest", env);
  const text = JSON.stringify([...objects.values()]);
  assert.doesNotMatch(text, /bpfd:latest|bpfd-agent:latest|podconfigmap-controller:latest/);
  const data = objects.get("ConfigMap kube-system/bpfd-config")?.data;
  assert.deepEqual([data?.["bpfd.image"], data?.["bpfd.agent.image"]], ["example.com/d:1", "example.com/a:1"]);
  assert.match(
    JSON.stringify(objects.get("Deployment kube-system/podconfigmap-controller")),
    /"image":"example.com\/o:1"/,
  );
});

test("make undeploy leaves the namespace in which secrets of users are", () => {
  const [rest, removable] = [render("rest"), render("removable")];
  assert.deepEqual(
    [...rest.keys()].filter((name) => !removable.has(name)),
    ["Namespace /bpfd"],
  );
});

for (const overlay of ["kind", "debug"])
  test(`manifests/overlays/${overlay} changes nothing but the operator and its configuration`, { skip }, () => {
    const [base, over] = [kustomize("manifests/base/ebpf"), kustomize(`manifests/overlays/${overlay}`)];
    const changed = [...over.keys()].filter((name) => {
      return JSON.stringify(over.get(name)) !== JSON.stringify(base.get(name));
    });
    assert.deepEqual(changed, ["ConfigMap kube-system/bpfd-config", "Deployment kube-system/podconfigmap-controller"]);
    assert.equal(over.size, base.size);
  });
