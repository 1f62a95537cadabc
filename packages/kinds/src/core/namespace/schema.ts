import type { KubeObject } from "../../kind.ts";
import { Type } from "../../schema/type.ts";

/** Kubernetes judges all of a namespace. */
export const anySchema = Type.Unknown();

export interface Namespace extends KubeObject {
  readonly kind: "Namespace";
}
