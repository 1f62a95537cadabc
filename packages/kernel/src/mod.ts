export * from "./facts.ts";
export * from "./port.ts";
export * from "./specs.ts";
