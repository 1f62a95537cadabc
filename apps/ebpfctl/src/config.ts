import { resolve } from "node:path";
import { Failure } from "./failure.ts";
import type { ClusterPlace } from "./cluster/cluster-place.ts";
import type { World } from "./world.ts";

/** Where everything of this node lies: flags before environment before the usual places. */
export interface Config {
  readonly store: string;
  readonly state: string;
  /** Of the daemon. */
  readonly socket: string;
  /** Of the agent, usually beside it. */
  readonly agentSocket: string;
  readonly bpffs: string;
  /** Objects are those of this cluster, not of the store. */
  readonly cluster: ClusterPlace | undefined;
  readonly isVerbose: boolean;
}

export interface GlobalFlags {
  readonly store?: string | undefined;
  readonly state?: string | undefined;
  readonly socket?: string | undefined;
  readonly bpffs?: string | undefined;
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly verbose?: true | undefined;
}

export const usualPlaces = {
  store: "/etc/bpfleet/objects",
  state: "/var/lib/bpfleet",
  socket: "/run/bpfd/bpfleet.sock",
  bpffs: "/run/bpfd/fs",
} as const;

/** sun_path, without the terminating zero. */
const longestSocket = 107;

export function parseConfig(flags: GlobalFlags, world: Pick<World, "env" | "cwd">): Config {
  const choose = (place: keyof typeof usualPlaces): string => {
    const asked = flags[place] ?? (world.env[`BPFLEET_${place.toUpperCase()}`] || undefined);
    return resolve(world.cwd, asked ?? usualPlaces[place]);
  };
  const socket = choose("socket");
  // Whoever names another daemon means its agent too.
  const asked = flags.socket === undefined ? world.env["BPFLEET_AGENT_SOCKET"] || undefined : undefined;
  const agentSocket = asked === undefined ? `${socket.replace(/\.sock$/, "")}-agent.sock` : resolve(world.cwd, asked);
  if (Buffer.byteLength(agentSocket) > longestSocket) {
    throw new Failure(
      `use ${socket}: a socket beside it would be longer than the ${longestSocket} bytes that the kernel takes; give a shorter --socket`,
    );
  }
  return {
    store: choose("store"),
    state: choose("state"),
    socket,
    agentSocket,
    bpffs: choose("bpffs"),
    cluster: clusterOf(flags, world),
    isVerbose: flags.verbose === true,
  };
}

/** Only where a flag asks for it: a node without a cluster may well have a kubeconfig. */
function clusterOf({ kubeconfig, context }: GlobalFlags, { cwd }: Pick<World, "cwd">): ClusterPlace | undefined {
  if (kubeconfig === undefined && context === undefined) return undefined;
  return { kubeconfig: kubeconfig === undefined ? undefined : resolve(cwd, kubeconfig), context };
}
