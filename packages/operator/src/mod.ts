export * from "./certificates/authority.ts";
export * from "./certificates/authority-state.ts";
export * from "./certificates/renewal.ts";
export * from "./certificates/secret-data.ts";
