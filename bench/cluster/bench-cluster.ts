import { connectKube, loadAccess, type KubeClient } from "@bpfleet/kube-client";
import { startApiServer, type ApiServer } from "../../test/cluster/api-server.ts";
import { ClusterNode, install } from "../../test/cluster/cluster-node.ts";
import { ImagePrograms } from "../../test/cluster/image-programs.ts";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { Unanswerable, type BenchContext } from "../result.ts";

/** A real API server and one node of its: daemon and agent as processes of their own, as the images start them. */
export class BenchCluster implements AsyncDisposable {
  readonly server: ApiServer;
  readonly node: ClusterNode;
  readonly programs: ImagePrograms;
  /** May do everything. */
  readonly admin: KubeClient;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    parts: Pick<BenchCluster, "server" | "node" | "programs" | "admin">,
    owned: AsyncDisposableStack,
  ) {
    [this.server, this.node, this.programs, this.admin] = [parts.server, parts.node, parts.programs, parts.admin];
    this.#owned = owned;
  }

  static async start(context: BenchContext): Promise<BenchCluster> {
    const absence = whyNoBuild();
    if (absence !== undefined) throw new Unanswerable(absence);
    await using made = new AsyncDisposableStack();
    const started = performance.now();
    const programs = made.use(await ImagePrograms.make());
    const server = made.use(await startApiServer(buildControlPlane()));
    install(server);
    const node = made.use(await ClusterNode.make(server, { programs }));
    const admin = made.use(connectKube(loadAccess({ env: {}, kubeconfig: server.kubeconfig })));
    await node.until("the agent follows the cluster", async () => (await node.state())?.status !== undefined);
    context.progress(`API server ${server.version} and one node after ${Math.round(performance.now() - started)} ms`);
    return new BenchCluster({ server, node, programs, admin }, made.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#owned.disposeAsync();
  }
}

export const ebpfPrograms = {
  group: "networking.fos1.io",
  version: "v1alpha1",
  plural: "ebpfprograms",
  namespace: "default",
} as const;

/** The documented filter, whose list is another one with each edit. */
export function packetFilter(edit: number) {
  return {
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFProgram",
    metadata: { name: "bench", namespace: "default" },
    spec: {
      type: "xdp",
      interface: "eth0",
      settings: {
        rateLimiting: { enabled: true, packetsPerSecond: 10_000 },
        blacklist: { enabled: true, ips: ["192.168.1.100", `10.10.${edit % 250}.0/24`] },
        stateful: true,
      },
    },
  };
}
