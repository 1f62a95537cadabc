/**
 * Measures an informer over many pods on a real API server: `node test/cluster/measure-informer.ts [PODS]`.
 * Each way is measured in a process of its own; a stall is the time of the processor between two turns of the loop.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import type { AnyObject, ApiObject, WatchPolicy } from "@bpfleet/kube";
import { connectKube, createInformer, loadAccess } from "@bpfleet/kube-client";
import { buildControlPlane } from "../../tools/build-control-plane.ts";
import { startApiServer } from "./api-server.ts";

const pods = { group: "", version: "v1", plural: "pods" };

interface Way {
  readonly policy?: Partial<WatchPolicy>;
  readonly allowsHttp2?: boolean;
  readonly transform?: (pod: AnyObject) => AnyObject;
}

const ways: Readonly<Record<string, Way>> = {
  "initial events": {},
  "initial events, transform": { transform: identityOnly },
  "pages of 500": { policy: { usesWatchList: false } },
  "one list": { policy: { usesWatchList: false, pageSize: 1_000_000 } },
  "pages of 500, HTTP/1.1": { policy: { usesWatchList: false }, allowsHttp2: false },
};

/** About what an agent needs of a pod. */
function identityOnly({ apiVersion, kind, metadata }: AnyObject): AnyObject {
  const { name, namespace, uid, resourceVersion, labels } = metadata;
  return { apiVersion, kind, metadata: { name, namespace, uid, resourceVersion, labels } };
}

function pod(index: number): ApiObject {
  const container = (name: string) => ({
    name,
    image: `registry.example/app-${index % 100}:1.2`,
    env: Array.from({ length: 6 }, (_, at) => ({ name: `VAR_${at}`, value: `value-${at}-${index}` })),
    resources: { requests: { cpu: "100m", memory: "128Mi" } },
    volumeMounts: [{ name: "data", mountPath: "/data" }],
  });
  const labels = { app: `app-${index % 100}`, "pod-template-hash": "5d4f8c7b9d" };
  const annotations = { "example.com/config": "x".repeat(300) };
  const metadata = { name: `pod-${index}`, namespace: "default", labels, annotations };
  const spec = {
    nodeName: `n${index % 100}`,
    containers: [container("a"), container("b")],
    volumes: [{ name: "data", emptyDir: {} }],
  };
  return { apiVersion: "v1", kind: "Pod", metadata, spec } as ApiObject;
}

async function measureAll(count: number): Promise<void> {
  await using server = await startApiServer(buildControlPlane());
  await using client = connectKube(loadAccess({ env: {}, kubeconfig: server.kubeconfig }));
  let next = 0;
  const write = async (): Promise<void> => {
    while (next < count) await client.create({ ...pods, namespace: "default" }, pod(next++));
  };
  await Promise.all(Array.from({ length: 24 }, write));
  console.log("| way | CPU ms | longest stall ms | heap MB | RSS MB |\n|---|---|---|---|---|");
  for (const way of Object.keys(ways)) {
    const args = ["--expose-gc", import.meta.filename, "--way", way, "--kubeconfig", server.kubeconfig];
    spawnSync(process.execPath, args, { stdio: "inherit" });
  }
}

async function measure(name: string, kubeconfig: string): Promise<void> {
  const { policy, allowsHttp2, transform } = ways[name] ?? {};
  await using client = connectKube(loadAccess({ env: {}, kubeconfig, allowsHttp2 }));
  await client.request({ method: "GET", path: "/version" });
  globalThis.gc?.();
  const heapBefore = process.memoryUsage().heapUsed;
  const cpuBefore = process.cpuUsage();
  let longestUs = 0;
  let isDone = false;
  let turn = process.threadCpuUsage();
  const watchLoop = (): void => {
    const { user, system } = process.threadCpuUsage(turn);
    longestUs = Math.max(longestUs, user + system);
    turn = process.threadCpuUsage();
    if (!isDone) setImmediate(watchLoop);
  };
  setImmediate(watchLoop);
  let told = 0;
  await using informer = createInformer<AnyObject>(client, { resource: pods, policy, transform });
  informer.onChange(() => void (told += 1));
  await informer.start().synced();
  isDone = true;
  const { user, system } = process.cpuUsage(cpuBefore);
  const { rss } = process.memoryUsage();
  await new Promise((resolve) => setTimeout(resolve, 200));
  globalThis.gc?.();
  const heap = process.memoryUsage().heapUsed - heapBefore;
  const numbers = [(user + system) / 1000, longestUs / 1000, heap / 1e6, rss / 1e6].map((number) => Math.round(number));
  console.log(`| ${name}: ${told} | ${numbers.join(" | ")} |`);
}

const { values, positionals } = parseArgs({
  options: { way: { type: "string" }, kubeconfig: { type: "string" } },
  allowPositionals: true,
});
if (values.way === undefined || values.kubeconfig === undefined) await measureAll(Number(positionals[0] ?? 10_000));
else await measure(values.way, values.kubeconfig);
