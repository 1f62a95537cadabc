export * from "./generated/daemon_pb.ts";
export * from "./generated/declaration_pb.ts";
export * from "./generated/kernel_pb.ts";
export * from "./generated/loader_pb.ts";
export * from "./generated/machine_pb.ts";
