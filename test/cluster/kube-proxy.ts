import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InnerProcess } from "@bpfleet/native/testing";
import { buildWholeCluster } from "../../tools/build-whole-cluster.ts";
import type { ApiServer } from "./api-server.ts";
import { kubeProxyConfig } from "./whole/node-config.ts";

export interface KubeProxyPlace {
  /** A process of the node. */
  readonly inside: InnerProcess;
  /** Name of its network namespace. */
  readonly netns: string;
  readonly nodeName: string;
  /** Of pods; of each family one. */
  readonly podRange: string;
}

/** The real kube-proxy in the network namespace of a node, which reaches the API server by that one's own address. */
export async function startKubeProxy(
  { inside, netns, nodeName, podRange }: KubeProxyPlace,
  server: ApiServer,
  mode: string,
): Promise<AsyncDisposable> {
  await using made = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "bpft-kube-proxy-"));
  made.defer(() => rmSync(folder, { recursive: true, force: true }));
  made.use(await relay(inside, Number(new URL(server.url).port), join(folder, "api.sock")));
  const config = join(folder, "kube-proxy.json");
  const usual = JSON.parse(kubeProxyConfig(server.kubeconfig, podRange)) as object;
  writeFileSync(config, JSON.stringify({ ...usual, mode }));
  const program = join(buildWholeCluster().node, "kube-proxy");
  const words = [`--net=/run/netns/${netns}`, program, `--config=${config}`, `--hostname-override=${nodeName}`];
  const child = spawn("nsenter", words, { stdio: "ignore" });
  made.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });
  return made.move();
}

/** Makes the API server's port one of the node too: by a socket that is a file. */
async function relay(inside: InnerProcess, port: number, path: string): Promise<Disposable> {
  const outer = createServer((socket) => {
    const onward = connect(port, "127.0.0.1");
    socket.pipe(onward).pipe(socket);
    for (const each of [socket, onward]) each.on("error", () => (socket.destroy(), onward.destroy()));
  });
  await new Promise<void>((done) => outer.listen(path, done));
  await inside.run(
    async ({ port, path }) => {
      const { connect, createServer } = process.getBuiltinModule("node:net");
      const inner = createServer((socket) => {
        const onward = connect(path);
        socket.pipe(onward).pipe(socket);
        for (const each of [socket, onward]) each.on("error", () => (socket.destroy(), onward.destroy()));
      });
      await new Promise<void>((done) => inner.listen(port, "127.0.0.1", done));
    },
    { port, path },
  );
  return { [Symbol.dispose]: () => void outer.close() };
}
