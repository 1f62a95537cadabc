import type { Intent } from "../feature.ts";
import type { PodCgroup } from "../filter/intent.ts";

/** Count the connections that the sockets of some pods open, accept and close. */
export interface SocketsIntent extends Intent {
  readonly feature: "sockets";
  readonly pods: readonly PodCgroup[];
  readonly priority: number;
}
