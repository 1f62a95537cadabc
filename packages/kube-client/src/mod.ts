export * from "./controller/controller.ts";
export { createController } from "./controller/queue-controller.ts";
export * from "./election/leader-elector.ts";
export { createLeaderElector } from "./election/lease-elector.ts";
export * from "./http/access.ts";
export { connectKube } from "./http/http-client.ts";
export * from "./informer/informer.ts";
export * from "./kube-client.ts";
export * from "./timing.ts";
