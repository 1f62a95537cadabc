import type { PullPolicy } from "./bytecode.ts";
import type { Proxies } from "./registry/proxies.ts";
import type { Credentials } from "./registry/credentials.ts";
import type { ContentStore } from "./store/content-store.ts";
import type { ImagePolicy } from "./signature/policy.ts";

/** How far the answer has come that is waited for. */
export interface FetchProgress {
  readonly bytes: number;
  /** Of it all, where the registry says so. */
  readonly total?: number | undefined;
}

export interface FetchRequest {
  /** As people write it: `quay.io/bpfd-bytecode/xdp_pass:latest`, with or without `image://`. */
  readonly reference: string;
  /** Usually `IfNotPresent`, for the tag `latest` too. */
  readonly pullPolicy?: PullPolicy;
  /** Which signatures are asked for; `parseImagePolicy` reads it from the file of the node. */
  readonly policy: ImagePolicy;
  /** `parseDockerConfig` and `credentialsOfSecret` make them. */
  readonly auth?: Credentials;
  /** Directory of `<host>/hosts.toml` files. */
  readonly mirrors?: string;
  /** As `readProxies` reads them from an environment; straight when left out. */
  readonly proxies?: Proxies | undefined;
  readonly store: ContentStore;
  /** `linux/amd64` and the like; usually that of this process. */
  readonly platform?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: ((progress: FetchProgress) => void) | undefined;
}
