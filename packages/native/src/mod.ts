export * from "./binding.ts";
