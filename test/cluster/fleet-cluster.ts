import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { renderTime } from "@bpfleet/base";
import { kinds, nameLabelValue } from "@bpfleet/kinds";
import type { AnyObject, ElectionConfig } from "@bpfleet/kube";
import { connectKube, fixedCredentials, type KubeClient } from "@bpfleet/kube-client";
import { startOperator, type LogLine, type Operator, type OperatorOptions } from "@bpfleet/operator";
import { builtImages } from "@bpfleet/operator/desired";
import { buildControlPlane } from "../../tools/build-control-plane.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";

/** Starting and stopping take a second or two; a loaded machine may take its time. */
const patienceMs = 90_000;
const root = join(import.meta.dirname, "../..");

/** An API server to which manifests/base/ebpf was applied, unless that is the test's own, with clients for its accounts. */
export interface FleetCluster extends AsyncDisposable {
  readonly server: ApiServer;
  /** May do everything. */
  readonly admin: KubeClient;
  readonly dir: string;
  /** A client with the token of a service account. */
  clientOf(account: string, namespace?: string): KubeClient;
  /** A client with the token that a kubelet gives the agent's pod on a node: bound to the pod. */
  agentOn(node: string): KubeClient;
  /** Path of a kubeconfig with such a token. */
  kubeconfigOf(account: string, namespace?: string): string;
  /** A replica in this process, with the operator's own account. */
  startOperator(options?: Partial<OperatorOptions> & { readonly identity?: string }): Promise<RunningOperator>;
}

export interface RunningOperator extends AsyncDisposable {
  readonly operator: Operator;
  readonly log: readonly LogLine[];
}

/** Short leases, so that tests of fail-over end; the proportions are the documented ones. */
export const quickElection: Omit<ElectionConfig, "identity"> = {
  isEnabled: true,
  namespace: "kube-system",
  name: "podconfigmap-controller-lock",
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryPeriodMs: 2000,
};

export async function startFleetCluster(
  moreFlags: readonly string[] = [],
  { isInstalled = true }: { readonly isInstalled?: boolean } = {},
): Promise<FleetCluster> {
  const server = await startApiServer(buildControlPlane(), moreFlags);
  const dir = mkdtempSync(join(tmpdir(), `bpfleet-fleet-${process.pid}-`));
  if (isInstalled) {
    const established = ["--for=condition=Established", "--timeout=60s"];
    server.kubectl(["apply", "--server-side", "-k", join(root, "manifests/base/ebpf")]);
    server.kubectl(["wait", ...established, "crd", "-l", "app.kubernetes.io/part-of=bpfleet"]);
  }
  const [, ca = ""] = /"certificate-authority-data":"([^"]+)"/.exec(readFileSync(server.kubeconfig, "utf8")) ?? [];
  const [, cert = ""] = /"client-certificate-data":"([^"]+)"/.exec(readFileSync(server.kubeconfig, "utf8")) ?? [];
  const [, key = ""] = /"client-key-data":"([^"]+)"/.exec(readFileSync(server.kubeconfig, "utf8")) ?? [];
  const text = (packed: string): string => Buffer.from(packed, "base64").toString();
  const clients = new Set<KubeClient>();
  const connect = (proof: Parameters<typeof fixedCredentials>[0]): KubeClient => {
    const client = connectKube({
      server: server.url,
      namespace: "kube-system",
      tls: { ca: text(ca) },
      credentials: fixedCredentials(proof),
    });
    clients.add(client);
    return client;
  };
  const tokenOf = (account: string, namespace: string, ...more: readonly string[]): string =>
    server.kubectl(["create", "token", account, "-n", namespace, "--duration=2h", ...more]).trim();
  const clientOf: FleetCluster["clientOf"] = (account, namespace = "kube-system") =>
    connect({ authorization: `Bearer ${tokenOf(account, namespace)}` });
  const admin = connect({ certificate: { cert: text(cert), key: text(key) } });
  return {
    server,
    admin,
    dir,
    clientOf,
    agentOn: (node) => {
      const pod = agentPod(node);
      server.kubectl(["create", "-f", "-"], JSON.stringify(pod));
      const bound = ["--bound-object-kind=Pod", `--bound-object-name=${pod.metadata.name}`];
      return connect({ authorization: `Bearer ${tokenOf("bpfd-daemon", "kube-system", ...bound)}` });
    },
    kubeconfigOf: (account, namespace = "kube-system") => {
      const path = join(dir, `${account}.kubeconfig`);
      const config = {
        apiVersion: "v1",
        kind: "Config",
        "current-context": "test",
        clusters: [{ name: "test", cluster: { server: server.url, "certificate-authority-data": ca } }],
        contexts: [{ name: "test", context: { cluster: "test", user: account } }],
        users: [{ name: account, user: { token: tokenOf(account, namespace) } }],
      };
      writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
      return path;
    },
    startOperator: async ({ identity = "operator-1", ...options } = {}) => {
      const log: LogLine[] = [];
      const client = clientOf("podconfigmap-controller");
      const started = startOperator({
        client,
        kinds,
        images: builtImages,
        election: { ...quickElection, identity },
        log: (line) => log.push(line),
        nodeGraceMs: 500,
        ...options,
      });
      const operator = await within("start the operator", patienceMs, started);
      const stop = async (): Promise<void> => {
        await within("stop the operator", patienceMs, operator.stop());
        // A process would end here: what is left of a connection is not to come up in a test that goes on.
        if (clients.delete(client)) await within("close its client", patienceMs, closeAll([client]));
      };
      return { operator, log, [Symbol.asyncDispose]: stop };
    },
    [Symbol.asyncDispose]: async () => {
      try {
        await within("close the clients", patienceMs, closeAll([...clients]));
      } finally {
        await server[Symbol.asyncDispose]();
      }
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function closeAll(clients: readonly KubeClient[]): Promise<void> {
  await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
}

/** What a promise brings, or the name of what did not end in time. */
export async function within<T>(what: string, timeoutMs: number, awaited: Promise<T> | T): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`${what}: not done after ${Math.round(timeoutMs / 1000)} s`)),
    timeoutMs,
  );
  try {
    return await Promise.race([awaited, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until something is not undefined. */
export async function until<T>(
  what: string,
  find: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 60_000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    // What does not answer at all is not waited for either.
    const found = await within(`ask whether ${what}`, Math.max(0, end - performance.now()) + 30_000, find());
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`wait until ${what}: not after ${timeoutMs / 1000} s`);
    await sleep(50);
  }
}

export function nodeObject(name: string): AnyObject {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
  };
}

function agentPod(node: string): AnyObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `bpfd-daemon-${node}`, namespace: "kube-system" },
    spec: {
      nodeName: node,
      serviceAccountName: "bpfd-daemon",
      automountServiceAccountToken: false,
      containers: [{ name: "c", image: "i" }],
    },
  };
}

export interface SimulatedResult {
  readonly kind: string;
  readonly group: string;
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string | undefined;
  readonly generation: number | undefined;
  readonly state: string;
  readonly conditions?: readonly object[];
  readonly numbers?: Readonly<Record<string, number>>;
}

/** What an agent says of an object. */
export function resultOf(object: AnyObject, state: string, rest: Partial<SimulatedResult> = {}): SimulatedResult {
  const { name, namespace = "", uid, generation } = object.metadata;
  const isReady = state === "InForce";
  const conditions = [
    {
      type: "Ready",
      status: isReady ? "True" : "False",
      reason: isReady ? "Ready" : "VerifierRejected",
      message: isReady ? "in force" : "R1 is no pointer",
    },
  ];
  return {
    group: object.apiVersion.split("/")[0] ?? "",
    kind: object.kind,
    namespace,
    name,
    uid,
    generation,
    state,
    conditions,
    ...rest,
  };
}

/** What the agent of a node says. */
export async function tellNodeState(
  client: KubeClient,
  node: string,
  results: readonly SimulatedResult[],
  isThere: boolean = false,
): Promise<void> {
  const type = { group: "bpfleet.io", version: "v1alpha1", plural: "nodestates" } as const;
  const head = { apiVersion: "bpfleet.io/v1alpha1", kind: "NodeState", metadata: { name: node } };
  const manager = { fieldManager: "bpfleet-agent", isForced: true } as const;
  const status = {
    observedAt: renderTime(Date.now()),
    results: results.map(({ generation, namespace = "", conditions = [], numbers = {}, ...rest }) => ({
      ...rest,
      namespace,
      observedGeneration: generation,
      conditions,
      numbers,
    })),
  };
  if (!isThere) await client.apply(type, head, manager);
  await client.applyStatus({ ...type, name: node }, { ...head, status } as AnyObject, manager);
}

/** What the agent of a node makes of a config. */
export async function makeNodeProgram(client: KubeClient, config: AnyObject, node: string): Promise<void> {
  const { name, uid = "" } = config.metadata;
  await client.create<AnyObject>(nodePrograms, {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgram",
    metadata: {
      name: `${name}-${node}`,
      labels: { owningConfig: nameLabelValue(name) },
      finalizers: ["bpfd.io.agent/finalizer"],
      ownerReferences: [
        { apiVersion: config.apiVersion, kind: config.kind, name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: { programs: {} },
  });
}

export const nodes = { group: "", version: "v1", plural: "nodes" } as const;
export const nodeStates = { group: "bpfleet.io", version: "v1alpha1", plural: "nodestates" } as const;
export const nodePrograms = { group: "bpfd.io", version: "v1alpha1", plural: "bpfprograms" } as const;
