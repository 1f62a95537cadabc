/** Older ones refuse rules of our CRDs: `isIP` and `isCIDR` are of 1.30, and taken in new rules from the next on. */
export const oldestKubernetes = "1.31";

/** Where everything of ours runs. */
export const ownNamespace = "kube-system";
/** Where ConfigMaps and Secrets that bpfd's documents name are also read from. */
export const bpfdNamespace = "bpfd";

/** Of server-side apply. */
export const fieldManager = "bpfleet-operator";
/** The same, of the answer that it gives in a ConfigMap of people. */
export const undeployManager = `${fieldManager}-undeploy`;

/** The Deployment, its Service, ServiceAccount, ClusterRole and bindings. */
export const operatorName = "podconfigmap-controller";
/** Its Lease, where nothing else is set. */
export const lockName = `${operatorName}-lock`;
/** The DaemonSet, its ServiceAccount, ClusterRole and bindings. */
export const daemonSetName = "bpfd-daemon";
/** Under it the API server is asked, without keeping anything, whether it would take an object that is to be made anew. */
export const trialName = (name: string): string => `${name}-trial`;
export const configMapName = "bpfd-config";
/** bpfd.toml as the daemons read it; made of `bpfd-config`, which may be in another namespace. */
export const nodeConfigMapName = "bpfd-daemon-config";
export const daemonServiceName = "bpfd-daemon";
export const webhookName = "bpfleet-webhook";
/** Lets each agent write of its own node only. */
export const ownNodePolicyName = "bpfleet-own-node";

export const secretNames = {
  authority: "bpfleet-ca",
  daemon: "bpfleet-daemon-tls",
  agent: "bpfleet-agent-tls",
  webhook: "bpfleet-webhook-tls",
} as const;

/** Groups of which the CRDs are part of our manifests. Those of others are installed only where they are absent. */
export const ownGroups: readonly string[] = ["networking.fos1.io", "bpfd.io", "podconfig.example.com", "bpfleet.io"];

/** User and group of all processes that need no rights, and group of the sockets on the node. */
export const plainUser = 65532;

export const partOf = { "app.kubernetes.io/part-of": "bpfleet" } as const;
/** What the operator made; nothing else of its kinds is ever removed by it. */
export const madeByOperator = { ...partOf, "app.kubernetes.io/managed-by": fieldManager } as const;
/** The selector of the DaemonSet. */
export const daemonLabels = { name: daemonSetName } as const;
/** Only pods of the DaemonSet carry it: the documents' commands take the first pod that does. */
export const documentedLabel = { app: "fos1-ebpf-controller" } as const;
export const operatorLabels = { app: operatorName } as const;

export const annotations = {
  /** On pods of the DaemonSet: of all that they read only at their start. A change rolls them. */
  configHash: "bpfleet.io/config-hash",
  /** The same for one setting, under bpfd's name. */
  logLevel: "bpfd.io.bpfd.loglevel",
  /** On the ConfigMap: `true` asks that every node be cleaned and everything removed. */
  undeploy: "bpfleet.io/undeploy",
  /** On the ConfigMap: what came of it. */
  undeployed: "bpfleet.io/undeployed",
  /** On pods of the DaemonSet in place of one that is to go. */
  parting: "bpfleet.io/parting",
  /** kubectl rollout restart; not an edit to be undone. */
  restartedAt: "kubectl.kubernetes.io/restartedAt",
} as const;

export const finalizers = {
  config: "bpfd.io.operator/finalizer",
  program: "bpfd.io.agent/finalizer",
} as const;

export const ports = { operator: 8080, webhook: 9443, daemonMetrics: 9091, agent: 9092 } as const;
