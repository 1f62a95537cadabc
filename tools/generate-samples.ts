import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { kinds, renderYaml } from "@bpfleet/kinds";
import { kindFolder } from "./generate-crds.ts";

const folder = "config/samples";

/** Of these kinds the samples of the documents; of those of bpfd.io all. */
const chosen: Readonly<Record<string, readonly string[]>> = {
  EBPFProgram: ["xdp-packet-filter.yaml"],
  EBPFMap: ["blacklist-map.yaml"],
  EBPFTrafficControl: ["egress-quality-of-service.yaml"],
  EBPFNATPolicy: ["outbound-nat.yaml", "web-server-dnat.yaml"],
  EBPFContainerPolicy: ["database-network-policy.yaml"],
  EBPFNetworkPolicy: ["api-server-protection.yaml"],
  PodConfigMapConfig: ["example-ebpf-config.yaml"],
};

/**
 * config/samples: what `kubectl apply -f config/samples/` and `-k` apply. Copies, for kustomize follows no link out of
 * its folder. Its own file has no ending, so that `-f` passes it by.
 */
export function generateSamples(root: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const kind of kinds) {
    const { source, madeFrom, group } = kind;
    if (!source.isOurs || source.crdOwner !== undefined || madeFrom !== undefined || group === "bpfleet.io") continue;
    const samples = join(root, kindFolder(kind), "samples");
    const names = group === "bpfd.io" ? readdirSync(samples) : chosen[kind.kind];
    if (names === undefined) throw new TypeError(`generate ${folder}: which samples of ${kind.kind} is not said`);
    for (const name of names)
      files.set(`${folder}/${kind.singular}-${name}`, readFileSync(join(samples, name), "utf8"));
  }
  const resources = [...files.keys()].map((path) => path.slice(folder.length + 1)).toSorted();
  const kustomization = { apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization", resources };
  files.set(
    `${folder}/Kustomization`,
    `# Made by tools/generate-samples.ts. Do not edit.\n${renderYaml(kustomization)}`,
  );
  return files;
}
