import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { guardHandler } from "@bpfleet/wire";
import type { Machine } from "../machine/machine.ts";
import { routeDaemon, type ServedDaemon } from "./daemon-routes.ts";
import { routeMachine } from "./machine-routes.ts";

/** Requests are a packet or an entry at most; anything larger is not ours. */
const readMaxBytes = 1 << 20;

export type ApiHandler = ReturnType<typeof connectNodeAdapter>;

/** Answers the requests of the daemon's API. */
export function createApiHandler(daemon: ServedDaemon | undefined, machine: Machine | undefined): ApiHandler {
  const routes = (router: ConnectRouter): void => {
    if (daemon !== undefined) routeDaemon(router, daemon);
    if (machine !== undefined) routeMachine(router, machine);
  };
  return guardHandler(connectNodeAdapter({ routes, readMaxBytes }));
}
