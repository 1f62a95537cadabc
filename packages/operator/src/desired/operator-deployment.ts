import type { Manifest } from "./manifest.ts";
import {
  configMapName,
  lockName,
  operatorLabels,
  operatorName,
  ownNamespace,
  partOf,
  plainUser,
  ports,
} from "./names.ts";
import type { DefaultImages } from "./settings.ts";

export interface OperatorImages extends DefaultImages {
  readonly operatorImage: string;
}

/** Images as a checkout builds them; overlays and the chart name others. */
export const builtImages: OperatorImages = {
  operatorImage: "podconfigmap-controller:latest",
  daemonImage: "bpfd:latest",
  agentImage: "bpfd-agent:latest",
};

export function operatorDeployment(images: OperatorImages): Manifest {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: operatorName, namespace: ownNamespace, labels: { ...partOf, ...operatorLabels } },
    spec: {
      replicas: 2,
      selector: { matchLabels: operatorLabels },
      template: {
        metadata: { labels: { ...partOf, ...operatorLabels } },
        spec: {
          serviceAccountName: operatorName,
          priorityClassName: "system-cluster-critical",
          securityContext: {
            runAsNonRoot: true,
            runAsUser: plainUser,
            runAsGroup: plainUser,
            fsGroup: plainUser,
            seccompProfile: { type: "RuntimeDefault" },
          },
          // Two nodes where there are two; on one node both replicas still run.
          topologySpreadConstraints: [
            {
              maxSkew: 1,
              topologyKey: "kubernetes.io/hostname",
              whenUnsatisfiable: "ScheduleAnyway",
              labelSelector: { matchLabels: operatorLabels },
            },
          ],
          tolerations: [
            { key: "node-role.kubernetes.io/control-plane", operator: "Exists", effect: "NoSchedule" },
            { key: "node-role.kubernetes.io/master", operator: "Exists", effect: "NoSchedule" },
          ],
          containers: [controller(images)],
        },
      },
    },
  };
}

function controller({ operatorImage, daemonImage, agentImage }: OperatorImages): object {
  return {
    name: "controller",
    image: operatorImage,
    // Images that were loaded into nodes by hand are used; those of a release never change under their name.
    imagePullPolicy: "IfNotPresent",
    env: [
      { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
      { name: "POD_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
      ...Object.entries({
        LEADER_ELECTION_ENABLED: "true",
        LEADER_ELECTION_LEASE_DURATION: "15s",
        LEADER_ELECTION_RENEW_DEADLINE: "10s",
        LEADER_ELECTION_RETRY_PERIOD: "2s",
        LEADER_ELECTION_LOCK_NAME: lockName,
        LEADER_ELECTION_LOCK_NAMESPACE: ownNamespace,
        METRICS_ADDR: `:${ports.operator}`,
        WEBHOOK_ADDR: `:${ports.webhook}`,
        LOG_LEVEL: "info",
        // Of the limit of memory, what Node may take for objects; a fleet of thousands of nodes needs a higher limit.
        NODE_OPTIONS: "--max-old-space-size-percentage=50",
        BPFD_IMG: daemonImage,
        BPFD_AGENT_IMG: agentImage,
      }).map(([name, value]) => ({ name, value })),
    ],
    securityContext: {
      runAsNonRoot: true,
      runAsUser: plainUser,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      // The document adds SYS_ADMIN, NET_ADMIN and BPF here; only the daemon touches the kernel, and only it has them.
      capabilities: { drop: ["ALL"] },
    },
    resources: { requests: { memory: "64Mi", cpu: "100m" }, limits: { memory: "128Mi", cpu: "200m" } },
    ports: [
      { containerPort: ports.operator, name: "metrics", protocol: "TCP" },
      { containerPort: ports.webhook, name: "webhook", protocol: "TCP" },
    ],
    startupProbe: { httpGet: { path: "/healthz", port: "metrics" }, periodSeconds: 2, failureThreshold: 60 },
    livenessProbe: { httpGet: { path: "/healthz", port: "metrics" }, periodSeconds: 10, timeoutSeconds: 5 },
    readinessProbe: { httpGet: { path: "/readyz", port: "metrics" }, periodSeconds: 5, timeoutSeconds: 5 },
  };
}

/** One replica stays while nodes are drained. */
export function operatorDisruptionBudget(): Manifest {
  return {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: operatorName, namespace: ownNamespace, labels: partOf },
    spec: { maxUnavailable: 1, selector: { matchLabels: operatorLabels } },
  };
}

export function operatorService(): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: operatorName, namespace: ownNamespace, labels: { ...partOf, ...operatorLabels } },
    spec: {
      selector: operatorLabels,
      ports: [{ name: "metrics", port: ports.operator, targetPort: "metrics", protocol: "TCP" }],
    },
  };
}

/** What people edit. Without it there is no DaemonSet. */
export function bpfdConfig(images: DefaultImages): Manifest {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: configMapName, namespace: ownNamespace, labels: partOf },
    data: {
      "bpfd.image": images.daemonImage,
      "bpfd.agent.image": images.agentImage,
      "bpfd.log.level": "info",
      "bpfleet.image-pull-policy": "IfNotPresent",
    },
  };
}
