import { kinds, renderYaml } from "@bpfleet/kinds";
import type { DefinedKind } from "@bpfleet/kinds";

const header = "# Made by tools/generate-crds.ts from schema.ts and columns.ts of the kind. Do not edit.\n";

/** The folder of a kind below the root of the repository. */
export function kindFolder(kind: DefinedKind): string {
  return `packages/kinds/src/${kind.group === "" ? "core" : kind.group}/${kind.singular}`;
}

/**
 * The CustomResourceDefinitions: each lives in the `generated` folder of its kind, which is a kustomize base;
 * generate-manifests.ts lists these bases.
 */
export function generateCrds(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const kind of kinds) {
    const crd = kind.crd();
    if (crd === undefined) continue;
    const folder = `${kindFolder(kind)}/generated`;
    files.set(`${folder}/crd.yaml`, header + renderYaml(crd));
    files.set(`${folder}/kustomization.yaml`, header + renderYaml(kustomization(["crd.yaml"])));
  }
  return files;
}

function kustomization(resources: readonly string[]): unknown {
  return { apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization", resources };
}
