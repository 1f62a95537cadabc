export type * from "./bytecode.ts";
export * from "./digest.ts";
export * from "./image-places.ts";
export { fetchBytecode, ownPlatform } from "./fetch-bytecode.ts";
export type { FetchProgress, FetchRequest } from "./fetch-request.ts";
export { buildImage } from "./image/build-image.ts";
export type { BuiltImage, ImageFacts } from "./image/build-image.ts";
export { readLabels, renderBuildArgs, renderLabels } from "./image/labels.ts";
export type { LabelFacts } from "./image/labels.ts";
export { parseLayout, readLayout, renderLayout } from "./image/layout.ts";
export { choosePlatform, isIndex, mediaTypes, parseManifest } from "./image/manifest.ts";
export { pushImage } from "./image/push-image.ts";
export { layerOf, readBytecode } from "./image/read-bytecode.ts";
export type { ImageContent, ReadBytecode } from "./image/read-bytecode.ts";
export * from "./open-bytecode.ts";
export * from "./reference.ts";
export {
  Credential,
  credentialsOfSecret,
  mergeCredentials,
  noCredentials,
  parseDockerConfig,
} from "./registry/credentials.ts";
export { RegistryClient, sizeCaps } from "./registry/registry-client.ts";
export type { RegistryOptions } from "./registry/registry-client.ts";
export type { Credentials } from "./registry/credentials.ts";
export { decideSignature } from "./signature/decide-signature.ts";
export { fetchEvidence } from "./signature/evidence.ts";
export type { Evidence } from "./signature/evidence.ts";
export { loadImagePolicy, loadNodePolicy, parseImagePolicy } from "./signature/policy-file.ts";
export { findRule, openPolicy } from "./signature/policy.ts";
export type { Accepted, ImagePolicy, SignatureMode, SignatureRule } from "./signature/policy.ts";
export { ContentStore } from "./store/content-store.ts";
export type { Collected, ImageRecord, StoreOptions } from "./store/content-store.ts";
export { readProxies, type Proxies } from "./registry/proxies.ts";
