import { resolve } from "node:path";
import type { World } from "./world.ts";

/** Where everything of this node lies: flags before environment before the usual places. */
export interface Config {
  readonly store: string;
  readonly state: string;
  /** Of the daemon. */
  readonly socket: string;
  /** Of the agent, beside it. */
  readonly agentSocket: string;
  readonly bpffs: string;
  readonly isVerbose: boolean;
}

export interface GlobalFlags {
  readonly store?: string | undefined;
  readonly state?: string | undefined;
  readonly socket?: string | undefined;
  readonly bpffs?: string | undefined;
  readonly verbose?: true | undefined;
}

export const usualPlaces = {
  store: "/etc/bpfleet/objects",
  state: "/var/lib/bpfleet",
  socket: "/run/bpfd/bpfleet.sock",
  bpffs: "/run/bpfd/fs",
} as const;

export function parseConfig(flags: GlobalFlags, world: Pick<World, "env" | "cwd">): Config {
  const choose = (place: keyof typeof usualPlaces): string => {
    const asked = flags[place] ?? (world.env[`BPFLEET_${place.toUpperCase()}`] || undefined);
    return resolve(world.cwd, asked ?? usualPlaces[place]);
  };
  const socket = choose("socket");
  return {
    store: choose("store"),
    state: choose("state"),
    socket,
    agentSocket: `${socket.replace(/\.sock$/, "")}-agent.sock`,
    bpffs: choose("bpffs"),
    isVerbose: flags.verbose === true,
  };
}
