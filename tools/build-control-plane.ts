import { fileURLToPath } from "node:url";
import { buildPrograms, programsFolder, whyNoBuild } from "./go-programs.ts";
import type { GoPrograms } from "./go-programs.ts";

export { whyNoBuild } from "./go-programs.ts";

const controlPlane: GoPrograms = {
  name: "control-plane",
  source: fileURLToPath(new URL("../test/cluster/control-plane", import.meta.url)),
  programs: [
    { name: "etcd", package: "go.etcd.io/etcd/server/v3", stamp: false },
    { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", stamp: true },
    { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", stamp: true },
  ],
};

/** Where the binaries are, or would be. */
export function controlPlaneFolder(): string {
  return programsFolder(controlPlane);
}

/** The folder of etcd, kube-apiserver and kubectl; builds what is missing (minutes the first time, then nothing). */
export function buildControlPlane(): string {
  return buildPrograms(controlPlane);
}

if (import.meta.main) {
  const reason = whyNoBuild();
  if (reason !== undefined) {
    console.error(`build control plane: ${reason}`);
    process.exit(1);
  }
  console.log(buildControlPlane());
}
