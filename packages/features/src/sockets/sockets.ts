import type { Feature } from "../feature.ts";
import { countConnections } from "./counters.ts";
import type { SocketsIntent } from "./intent.ts";
import { planSockets } from "./plan.ts";

/** TCP connections of pods, counted where they are opened, accepted and closed. It judges nothing. */
export const sockets: Feature<SocketsIntent> = {
  name: "sockets",
  plan: planSockets,
  passReasons: [],
  counterRoles: ["connections"],
  counters: countConnections,
};
