export * from "./cluster-follower.ts";
export * from "./obedient-daemon.ts";
