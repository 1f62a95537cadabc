import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { areBuilt, buildPrograms, moduleFolder, programsFolder, whyNoBuild } from "./go-programs.ts";
import type { GoPrograms } from "./go-programs.ts";

/** What a whole cluster needs beside the control plane of `build-control-plane.ts`. */
export interface WholeClusterFolders {
  /** kube-controller-manager, kube-scheduler, kubelet, kube-proxy. */
  readonly node: string;
  /** The plugins that make a pod's interfaces. */
  readonly cni: string;
}

const source = (name: string): string =>
  fileURLToPath(new URL(`../test/cluster/whole/modules/${name}`, import.meta.url));

const kubernetes = (name: string) => ({ name, package: `k8s.io/kubernetes/cmd/${name}`, stamp: true });

const node: GoPrograms = {
  name: "node",
  source: source("node"),
  programs: ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"].map(kubernetes),
};

const plugin = (path: string) => ({
  name: path.split("/").at(-1) ?? path,
  package: `github.com/containernetworking/plugins/plugins/${path}`,
  stamp: false,
});

const cni: GoPrograms = {
  name: "cni",
  source: source("cni"),
  programs: ["main/bridge", "main/loopback", "main/ptp", "ipam/host-local"].map(plugin),
};

const kwok: GoPrograms = {
  name: "kwok",
  source: source("kwok"),
  programs: [{ name: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", stamp: false }],
};

const helm: GoPrograms = {
  name: "helm",
  source: source("helm"),
  programs: [{ name: "helm", package: "helm.sh/helm/v3/cmd/helm", stamp: false }],
};

/** The plugins of Debian, where they are installed. */
const debianPlugins = "/usr/lib/cni";

/** Whether a whole cluster can start without minutes of building. */
export function isWholeClusterBuilt(): boolean {
  return areBuilt(node) && (hasDebianPlugins() || areBuilt(cni));
}

export function buildWholeCluster(): WholeClusterFolders {
  return { node: buildPrograms(node), cni: hasDebianPlugins() ? debianPlugins : buildPrograms(cni) };
}

/** Simulated nodes: kwok, and the stages that it plays, which lie in its module beside the sources. */
export function buildKwok(): { readonly program: string; readonly stages: string } {
  const folder = buildPrograms(kwok);
  const stages = join(folder, "stages.yaml");
  if (!existsSync(stages)) {
    const from = join(moduleFolder(kwok, "sigs.k8s.io/kwok"), "kustomize/stage");
    const files = [
      "node/fast/node-initialize",
      "node/heartbeat-with-lease/node-heartbeat-with-lease",
      "pod/fast/pod-ready",
      "pod/fast/pod-complete",
      "pod/fast/pod-delete",
    ].map((file) => readFileSync(join(from, `${file}.yaml`), "utf8"));
    writeFileSync(stages, [kwokOptions, ...files].map((text) => `---\n${text.trim()}\n`).join(""));
  }
  return { program: join(folder, "kwok"), stages };
}

/** Helm, to render our chart with. */
export function buildHelm(): string {
  return join(buildPrograms(helm), "helm");
}

/** Its own default of 4 at a time takes minutes for thousands of nodes. */
const kwokOptions = JSON.stringify({
  apiVersion: "config.kwok.x-k8s.io/v1alpha1",
  kind: "KwokConfiguration",
  options: {
    podPlayStageParallelism: 32,
    nodePlayStageParallelism: 32,
    nodeLeaseParallelism: 32,
    podsOnNodeSyncParallelism: 32,
  },
});

function hasDebianPlugins(): boolean {
  return ["bridge", "loopback", "ptp", "host-local"].every((name) => existsSync(join(debianPlugins, name)));
}

if (import.meta.main) {
  const reason = whyNoBuild();
  if (reason !== undefined) {
    console.error(`build whole cluster: ${reason}`);
    process.exit(1);
  }
  const folders = Object.values(buildWholeCluster());
  console.log(folders.join("\n"));
  if (process.argv.includes("--kwok")) console.log(programsFolder(kwok), buildKwok().stages);
  if (process.argv.includes("--helm")) console.log(buildHelm());
}
