export { parseBpfdConfig, type BpfdConfig } from "./bpfd-config.ts";
export type { Caller } from "./declaration.ts";
export { layouts, type Layout } from "./layout.ts";
export { loadStaticPrograms, type StaticProgramsNode } from "./load-static-programs.ts";
export { Loader, type LoaderOptions } from "./loader.ts";
export { serveLoader, type LoaderServer } from "./loader-server.ts";
export { Refusal, type RefusalCode } from "./refusal.ts";
