import type { KubeObject } from "../../kind.ts";

/** Kubernetes judges all of it. */
export interface EndpointSlice extends KubeObject {
  readonly kind: "EndpointSlice";
  readonly addressType?: unknown;
  readonly endpoints?: unknown;
  readonly ports?: unknown;
}
