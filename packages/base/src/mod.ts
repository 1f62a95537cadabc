export * from "./bytes.ts";
export * from "./clock.ts";
export * from "./errors.ts";
export * from "./fingerprint.ts";
export * from "./object-ref.ts";
export * from "./option-table.ts";
export * from "./result.ts";
export * from "./text-table.ts";
