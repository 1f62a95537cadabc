export type * from "./bytecode.ts";
export * from "./digest.ts";
export type { FetchBytecode, FetchRequest } from "./fetch-request.ts";
export * from "./open-bytecode.ts";
export * from "./reference.ts";
export {
  Credential,
  credentialsOfSecret,
  mergeCredentials,
  noCredentials,
  parseDockerConfig,
} from "./registry/credentials.ts";
export type { Credentials } from "./registry/credentials.ts";
export { findRule, openPolicy } from "./signature/policy.ts";
export type { Accepted, ImagePolicy, SignatureMode, SignatureRule } from "./signature/policy.ts";
export { ContentStore } from "./store/content-store.ts";
export type { Collected, ImageRecord, StoreOptions } from "./store/content-store.ts";
