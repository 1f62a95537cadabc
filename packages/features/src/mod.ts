export * from "./feature.ts";
export * from "./devices/intent.ts";
export * from "./filter/intent.ts";
export * from "./maps/intent.ts";
export * from "./sockets/intent.ts";
export * from "./sockets/sockets.ts";
