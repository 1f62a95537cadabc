import { kinds, renderYaml } from "@bpfleet/kinds";
import { baseManifests, builtImages, ownGroups } from "@bpfleet/operator/desired";
import { kindFolder } from "./generate-crds.ts";

const header = "# Made by tools/generate-manifests.ts from packages/operator/src/desired. Do not edit.\n";
const folder = "manifests/base/ebpf";

/** What `kubectl apply -k manifests/base/ebpf` applies: the CRDs of our groups, accounts, roles, and the operator. */
export function generateManifests(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const [name, objects] of Object.entries(baseManifests(kinds, builtImages)))
    files.set(`${folder}/generated/${name}`, header + objects.map((object) => renderYaml(object)).join("---\n"));
  const own = kinds.filter((kind) => kind.crd() !== undefined && ownGroups.includes(kind.group));
  const resources = [
    ...own.map((kind) => `../../../${kindFolder(kind)}/generated`).toSorted(),
    ...[...files.keys()].map((path) => path.slice(folder.length + 1)),
  ];
  files.set(
    `${folder}/kustomization.yaml`,
    header + renderYaml({ apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization", resources }),
  );
  return files;
}
