export * from "./api-error.ts";
export * from "./api-object.ts";
export * from "./election/election-config.ts";
export * from "./queue/outcome.ts";
export * from "./resource.ts";
export * from "./watch/object-cache.ts";
export * from "./watch/reflection.ts";
export * from "./watch/watch-policy.ts";
