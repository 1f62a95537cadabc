import { canonicalJson, fingerprint } from "@bpfleet/base";
import { daemonCapabilities, memlockCapability } from "./capabilities.ts";
import type { Manifest } from "./manifest.ts";
import { optional } from "./manifest.ts";
import {
  annotations,
  daemonLabels,
  daemonSetName,
  documentedLabel,
  madeByOperator,
  nodeConfigMapName,
  ownNamespace,
  plainUser,
  ports,
  secretNames,
} from "./names.ts";
import type { Settings } from "./settings.ts";

/** What the cluster itself decides of the DaemonSet. */
export interface NodeSetup {
  readonly settings: Settings;
  /** CiliumNetworkPolicy and FelixConfiguration are followed by this fleet, not by the agents of their makers. */
  readonly followsCilium: boolean;
  readonly followsCalico: boolean;
}

const runDir = "/run/bpfd";
const bpffs = `${runDir}/fs`;
const socket = `${runDir}/bpfleet.sock`;
const cniSocket = `${runDir}/bpfleet-cni.sock`;
/** The agent may write nothing of the host: its socket lies in a folder of the pod. */
const agentDir = "/run/bpfd-agent";
const stateDir = "/var/lib/bpfleet";
const tlsDir = "/etc/bpfleet/tls";
const configDir = "/etc/bpfd";
/** Where registries are to be had, as containerd has it: mirrors and authorities of this node. */
const registriesDir = "/etc/bpfleet/registries";
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount";

const linux = { "kubernetes.io/os": "linux" } as const;

export const locked = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
} as const;

/** Daemon and agent on every node. */
export function daemonSet(setup: NodeSetup): Manifest {
  const { settings } = setup;
  return setOf(
    { ...podAnnotations(setup), "kubectl.kubernetes.io/default-container": "bpfd" },
    {
      ...podBase(settings),
      nodeSelector: { ...linux, ...settings.nodeSelector },
      tolerations: settings.tolerations,
      // Taken out before anything else: what stands in the configuration is always what is asked for.
      initContainers: [bpffsContainer(settings), ...(settings.cni.isOn ? [] : [cniContainer(settings, "uninstall")])],
      containers: [
        daemonContainer(setup),
        agentContainer(setup),
        ...(settings.cni.isOn ? [cniContainer(settings, "install")] : []),
      ],
      volumes: [...volumes(), ...cniVolumes(settings)],
    },
    // Programs stay attached while a pod is replaced, so that many may be at once.
    "10%",
  );
}

/**
 * The same set with pods that detach and remove everything and then stand Ready, so that the API server counts the
 * nodes that are clean. The daemon of a node has ended before its pod begins.
 */
export function cleanupDaemonSet(settings: Settings): Manifest {
  const clean = [
    hostPath("run", runDir, "DirectoryOrCreate"),
    hostPath("state", stateDir, "DirectoryOrCreate"),
    hostPath("sys-bpf", "/sys/fs/bpf"),
    hostPath("cgroup", "/sys/fs/cgroup"),
  ];
  const container = (name: string, command: readonly string[], securityContext: object): object => ({
    name,
    ...imageOf(settings.daemonImage, settings),
    command,
    env: [env("BPFLEET_BPFFS", bpffs), env("BPFLEET_STATE", stateDir), env("BPFLEET_SOCKET", socket)],
    securityContext,
    resources: small,
  });
  return setOf(
    { [annotations.undeploy]: "true" },
    {
      ...podBase(settings),
      // Also of nodes that were meant once, and are no longer.
      nodeSelector: linux,
      tolerations: [{ operator: "Exists" }],
      initContainers: [
        cniContainer(settings, "remove"),
        {
          ...container("cleanup", ["/usr/bin/ebpfctl", "cleanup"], {
            ...locked,
            privileged: true,
            runAsUser: 0,
            allowPrivilegeEscalation: true,
            capabilities: {},
          }),
          volumeMounts: [
            { ...mount("run", runDir), mountPropagation: "Bidirectional" },
            mount("state", stateDir),
            { ...mount("sys-bpf", "/sys/fs/bpf"), mountPropagation: "Bidirectional" },
            { ...mount("cgroup", "/sys/fs/cgroup"), readOnly: true },
          ],
        },
      ],
      containers: [
        container("clean", ["/usr/bin/ebpfctl", "sleep"], { ...locked, runAsNonRoot: true, runAsUser: plainUser }),
      ],
      volumes: [...clean, ...cniVolumes(settings)],
    },
    "100%",
  );
}

export function setOf(annotated: Readonly<Record<string, string>>, podSpec: object, maxUnavailable: string): Manifest {
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: daemonSetName, namespace: ownNamespace, labels: { ...madeByOperator, ...daemonLabels } },
    spec: {
      selector: { matchLabels: daemonLabels },
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 0, maxUnavailable } },
      template: {
        metadata: { labels: { ...madeByOperator, ...daemonLabels, ...documentedLabel }, annotations: annotated },
        spec: podSpec,
      },
    },
  };
}

/** What pods read only at their start; where it changes, they are replaced. */
function podAnnotations({ settings, followsCilium, followsCalico }: NodeSetup): Readonly<Record<string, string>> {
  return {
    [annotations.logLevel]: settings.daemonLogLevel,
    [annotations.configHash]: fingerprint(canonicalJson({ settings, followsCilium, followsCalico })),
  };
}

function podBase(settings: Settings): object {
  return {
    serviceAccountName: daemonSetName,
    // The daemon has no business with the API server; the agent's container mounts a token of its own.
    automountServiceAccountToken: false,
    hostNetwork: true,
    // The network namespace of a pod is found by its processes, which the cgroup names by their numbers here.
    hostPID: true,
    dnsPolicy: "ClusterFirstWithHostNet",
    priorityClassName: "system-node-critical",
    terminationGracePeriodSeconds: 10,
    securityContext: { fsGroup: plainUser, seccompProfile: { type: "RuntimeDefault" } },
    ...(settings.imagePullSecrets.length === 0
      ? {}
      : { imagePullSecrets: settings.imagePullSecrets.map((name) => ({ name })) }),
  };
}

/**
 * Mounts the bpffs where it outlives us: in the mount namespace of the host. Only a privileged container may
 * propagate a mount to there; it gives the daemon the folders that are its own, does nothing else, and ends.
 */
function bpffsContainer(settings: Settings): object {
  return {
    name: "bpffs",
    ...imageOf(settings.daemonImage, settings),
    command: ["/usr/bin/ebpfctl", "mount-bpffs", bpffs, "/sys/fs/bpf"],
    args: ["--owner", String(plainUser), "--give", runDir, stateDir],
    securityContext: { privileged: true, runAsUser: 0, readOnlyRootFilesystem: true },
    volumeMounts: [
      { ...mount("run", runDir), mountPropagation: "Bidirectional" },
      { ...mount("sys-bpf", "/sys/fs/bpf"), mountPropagation: "Bidirectional" },
      mount("state", stateDir),
    ],
    resources: small,
  };
}

/**
 * The plug-in itself, which puts itself into the network configuration and stays there while others write it anew, or takes
 * itself out: by the rights of the files' owner alone.
 */
function cniContainer(settings: Settings, task: "install" | "uninstall" | "remove"): object {
  const { confDir, binDir, failurePolicy, timeoutMs } = settings.cni;
  const places = ["--conf-dir", confDir, "--bin-dir", binDir];
  const asked = ["--timeout-ms", String(timeoutMs), "--failure-policy", failurePolicy];
  const tasks = {
    install: ["install", "--watch", ...places, "--socket", cniSocket, "--known", `${stateDir}/cni-known`, ...asked],
    // Runtimes may ask it when pods end that began with it.
    uninstall: ["uninstall", "--keep-binary", ...places],
    remove: ["uninstall", ...places],
  };
  return {
    name: "cni",
    ...imageOf(settings.daemonImage, settings),
    command: ["/usr/bin/bpfleet-cni"],
    args: tasks[task],
    securityContext: { ...locked, runAsUser: 0, runAsGroup: 0 },
    volumeMounts: [mount("cni-conf", confDir), mount("cni-bin", binDir)],
    resources: { requests: { cpu: "1m", memory: "4Mi" } },
  };
}

function cniVolumes({ cni: { confDir, binDir } }: Settings): readonly object[] {
  return [hostPath("cni-conf", confDir, "DirectoryOrCreate"), hostPath("cni-bin", binDir, "DirectoryOrCreate")];
}

function daemonContainer({ settings }: NodeSetup): object {
  return {
    name: "bpfd",
    ...imageOf(settings.daemonImage, settings),
    env: [
      ...nodeEnv(settings.daemonLogLevel),
      env("BPFLEET_STATE", stateDir),
      env("BPFLEET_BPFFS", bpffs),
      env("BPFLEET_AGENT_GROUP", String(plainUser)),
      env("BPFLEET_METRICS_ADDR", `${renderHost(settings.metricsAddress)}:${settings.metricsPort}`),
      env("BPFLEET_HOST_ACCESS", settings.hostAccess),
      ...failSafeEnv(settings),
      ...(settings.dnsSeconds === undefined ? [] : [env("BPFLEET_DNS_SECONDS", String(settings.dnsSeconds))]),
      ...(settings.graceSeconds === undefined ? [] : [env("BPFLEET_GRACE_SECONDS", String(settings.graceSeconds))]),
      ...(settings.bpfdToml === undefined ? [] : [env("BPFLEET_BPFD_CONFIG", `${configDir}/bpfd.toml`)]),
      ...(settings.imagePolicy === undefined ? [] : [env("BPFLEET_IMAGE_POLICY", `${configDir}/image-policy.yaml`)]),
    ],
    // Kubernetes hands added capabilities to root only: this user takes them from the file that it starts, which is
    // what "escalation" means here. Nothing else in the image has any to take.
    securityContext: {
      ...locked,
      allowPrivilegeEscalation: true,
      runAsNonRoot: true,
      runAsUser: plainUser,
      runAsGroup: plainUser,
      capabilities: {
        drop: ["ALL"],
        add: [...Object.keys(daemonCapabilities), ...(settings.raisesMemlock ? [memlockCapability] : [])],
      },
      // The profile that runtimes bring forbids writing below /sys/fs, where pins are.
      appArmorProfile: { type: "Unconfined" },
    },
    ports: [{ name: "metrics", containerPort: settings.metricsPort, protocol: "TCP" }],
    volumeMounts: [
      { ...mount("run", runDir), mountPropagation: "HostToContainer" },
      { ...mount("sys-bpf", "/sys/fs/bpf"), mountPropagation: "HostToContainer" },
      { ...mount("cgroup", "/sys/fs/cgroup"), mountPropagation: "HostToContainer", readOnly: true },
      { ...mount("tracing", "/sys/kernel/tracing"), readOnly: true },
      { ...mount("agent-run", agentDir), readOnly: true },
      mount("state", stateDir),
      { ...mount("daemon-tls", tlsDir), readOnly: true },
      { ...mount("config", configDir), readOnly: true },
      { ...mount("registries", registriesDir), readOnly: true },
    ],
    ...probes("/metrics", settings.metricsPort, settings.metricsAddress),
    resources: settings.daemonResources,
  };
}

/** Where metrics are served is open too. */
function failSafeEnv({ failSafePorts, metricsPort }: Settings): readonly object[] {
  const written = failSafePorts ?? (metricsPort === ports.daemonMetrics ? undefined : `in:usual,tcp/${metricsPort}`);
  return written === undefined ? [] : [env("BPFLEET_FAIL_SAFE_PORTS", written)];
}

/** By which agents are told whose kinds they follow. */
export const followVariables = { cilium: "BPFLEET_FOLLOW_CILIUM", calico: "BPFLEET_FOLLOW_CALICO" } as const;

function agentContainer({ settings, followsCilium, followsCalico }: NodeSetup): object {
  return {
    name: "bpfd-agent",
    ...imageOf(settings.agentImage, settings),
    env: [
      // The agent has no level below debug.
      ...nodeEnv(settings.agentLogLevel === "trace" ? "debug" : settings.agentLogLevel),
      env("BPFLEET_HEALTH_ADDR", `127.0.0.1:${ports.agent}`),
      env(followVariables.cilium, String(followsCilium)),
      env(followVariables.calico, String(followsCalico)),
    ],
    securityContext: { ...locked, runAsNonRoot: true, runAsUser: plainUser, runAsGroup: plainUser },
    volumeMounts: [
      { ...mount("run", runDir), readOnly: true },
      mount("agent-run", agentDir),
      { ...mount("agent-tls", tlsDir), readOnly: true },
      { ...mount("account", accountDir), readOnly: true },
    ],
    ...probes("/healthz", ports.agent, "127.0.0.1"),
    resources: settings.agentResources,
  };
}

function volumes(): readonly object[] {
  return [
    hostPath("run", runDir, "DirectoryOrCreate"),
    { name: "agent-run", emptyDir: {} },
    hostPath("sys-bpf", "/sys/fs/bpf"),
    hostPath("cgroup", "/sys/fs/cgroup"),
    hostPath("tracing", "/sys/kernel/tracing"),
    hostPath("state", stateDir, "DirectoryOrCreate"),
    hostPath("registries", registriesDir, "DirectoryOrCreate"),
    { name: "daemon-tls", secret: { secretName: secretNames.daemon, defaultMode: 0o440 } },
    { name: "agent-tls", secret: { secretName: secretNames.agent, defaultMode: 0o440 } },
    { name: "config", configMap: { name: nodeConfigMapName, defaultMode: 0o444 } },
    {
      name: "account",
      projected: {
        defaultMode: 0o440,
        sources: [
          { serviceAccountToken: { path: "token", expirationSeconds: 3607 } },
          { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
          {
            downwardAPI: {
              items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
            },
          },
        ],
      },
    },
  ];
}

function nodeEnv(level: string): readonly object[] {
  const nodeName = { valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "spec.nodeName" } } };
  return [
    // bpfd's name of it, which its own programs and examples read.
    { name: "NODENAME", ...nodeName },
    { name: "BPFLEET_NODE_NAME", ...nodeName },
    env("BPFLEET_SOCKET", socket),
    env("BPFLEET_AGENT_SOCKET", `${agentDir}/bpfleet.sock`),
    env("BPFLEET_TLS_DIR", tlsDir),
    env("LOG_LEVEL", level),
  ];
}

export const small = { requests: { cpu: "10m", memory: "32Mi" } };

function probes(path: string, port: number, host?: string): object {
  const httpGet = { path, port, scheme: "HTTP", ...optional("host", host) };
  return {
    startupProbe: { httpGet, periodSeconds: 2, failureThreshold: 60, timeoutSeconds: 5 },
    livenessProbe: { httpGet, periodSeconds: 20, failureThreshold: 3, timeoutSeconds: 10 },
    readinessProbe: { httpGet, periodSeconds: 5, failureThreshold: 3, timeoutSeconds: 5 },
  };
}

function imageOf(image: string, { imagePullPolicy }: Settings): object {
  return { image, ...optional("imagePullPolicy", imagePullPolicy) };
}

function renderHost(address = ""): string {
  return address.includes(":") ? `[${address}]` : address;
}

function env(name: string, value: string): object {
  return { name, value };
}

function mount(name: string, mountPath: string): { readonly name: string; readonly mountPath: string } {
  return { name, mountPath };
}

function hostPath(name: string, path: string, type?: string): object {
  return { name, hostPath: { path, ...optional("type", type) } };
}
