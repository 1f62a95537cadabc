/** What needs neither registries nor signatures, and a hundredth of the code. */
export { isDigest, type Digest } from "./digest.ts";
export { usualImagePlaces } from "./image-places.ts";
export { readProxies, type Proxies } from "./registry/proxies.ts";
export { openPolicy, type ImagePolicy } from "./signature/policy.ts";
export { ContentStore } from "./store/content-store.ts";
