export * from "./fixtures.ts";
export * from "./registry-bench.ts";
export * from "./registry-process.ts";
export { ForwardProxy, type ForwardProxyOptions } from "./forward-proxy.ts";
