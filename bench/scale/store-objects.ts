import { nodeName } from "./lines.ts";

/** What an API server would have stored, put into its etcd as it is: there is nothing to be admitted. */
export interface StoredObject {
  readonly key: string;
  readonly object: object;
}

/** etcd takes 128 in one transaction. */
const inOne = 128;
const createdAt = "2026-01-01T00:00:00Z";

export async function putObjects(store: string, objects: Iterable<StoredObject>): Promise<void> {
  let batch: object[] = [];
  for (const { key, object } of objects) {
    batch.push({ requestPut: { key: base64(key), value: base64(JSON.stringify(object)) } });
    if (batch.length < inOne) continue;
    await commit(store, batch);
    batch = [];
  }
  if (batch.length > 0) await commit(store, batch);
}

async function commit(store: string, success: readonly object[]): Promise<void> {
  const response = await fetch(`${store}/v3/kv/txn`, { method: "POST", body: JSON.stringify({ success }) });
  if (!response.ok) throw new Error(`put objects into etcd: ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** A Ready node. */
export function storedNode(at: number): StoredObject {
  const name = nodeName(at);
  const address = `10.64.${at >> 8}.${at & 255}`;
  const resources = { cpu: "32", memory: "256Gi", pods: "250" };
  return {
    key: `/registry/minions/${name}`,
    object: {
      apiVersion: "v1",
      kind: "Node",
      metadata: {
        name,
        uid: uidOf(1, at),
        creationTimestamp: createdAt,
        labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" },
      },
      spec: {},
      status: {
        allocatable: resources,
        capacity: resources,
        addresses: [{ type: "InternalIP", address }],
        conditions: [{ type: "Ready", status: "True" }],
      },
    },
  };
}

/** A running pod, one of a deployment, on one of `nodes` nodes. */
export function storedPod(at: number, nodes: number, namespace: string, address?: string): StoredObject {
  const podIP = address ?? `10.${128 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`;
  const app = `app-${at % 1000}`;
  const name = `${app}-7d8f9c6b5-${at}`;
  return {
    key: `/registry/pods/${namespace}/${name}`,
    object: {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name,
        namespace,
        uid: uidOf(2, at),
        creationTimestamp: createdAt,
        labels: { app, "pod-template-hash": "7d8f9c6b5" },
      },
      spec: {
        nodeName: nodeName(at % nodes),
        restartPolicy: "Always",
        dnsPolicy: "ClusterFirst",
        serviceAccountName: "default",
        containers: [{ name: "main", image: "registry.example/app:1", imagePullPolicy: "IfNotPresent" }],
      },
      status: {
        phase: "Running",
        qosClass: "BestEffort",
        podIP,
        podIPs: [{ ip: podIP }],
        startTime: createdAt,
        conditions: [{ type: "Ready", status: "True" }],
      },
    },
  };
}

function uidOf(sort: number, at: number): string {
  return `0000000${sort}-0000-4000-8000-${String(at).padStart(12, "0")}`;
}
