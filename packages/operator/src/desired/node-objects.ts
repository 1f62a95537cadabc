import { optional, type Manifest } from "./manifest.ts";
import { daemonSet, type NodeSetup } from "./daemon-set.ts";
import { daemonLabels, daemonServiceName, madeByOperator, nodeConfigMapName, ownNamespace, ports } from "./names.ts";

/**
 * Everything on behalf of the nodes that the operator keeps as it is here, in the order in which it is applied;
 * `remembered` lies beside what daemons read.
 */
export function nodeObjects(setup: NodeSetup, remembered: Readonly<Record<string, string>> = {}): readonly Manifest[] {
  return [nodeConfigMap(setup, remembered), daemonService(), daemonSet(setup)];
}

function nodeConfigMap({ settings }: NodeSetup, remembered: Readonly<Record<string, string>>): Manifest {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: nodeConfigMapName, namespace: ownNamespace, labels: madeByOperator },
    data: {
      "bpfd.toml": settings.bpfdToml ?? "",
      ...optional("image-policy.yaml", settings.imagePolicy),
      ...remembered,
    },
  };
}

/** Headless: Prometheus finds each daemon by it. */
function daemonService(): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: daemonServiceName, namespace: ownNamespace, labels: { ...madeByOperator, ...daemonLabels } },
    spec: {
      clusterIP: "None",
      selector: daemonLabels,
      ports: [{ name: "metrics", port: ports.daemonMetrics, targetPort: "metrics", protocol: "TCP" }],
    },
  };
}
