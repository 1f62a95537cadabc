import { Type } from "../../schema/type.ts";
import type { KubeObject } from "../../kind.ts";

/** Kubernetes judges all of a Service. */
export const anySchema = Type.Unknown();

export interface Service extends KubeObject {
  readonly kind: "Service";
}
