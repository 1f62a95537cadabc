export * from "./atomic-file.ts";
export * from "./store/cut-manifest.ts";
export * from "./store/directory-store.ts";
export * from "./store/object-path.ts";
export * from "./store/stored-object.ts";
export * from "./store/watch-store.ts";
