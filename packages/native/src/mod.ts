export * from "./binding.ts";
export * from "./chain-self-test.ts";
export * from "./chain.ts";
