import type { KubeObject } from "../../kind.ts";
import { Type } from "../../schema/type.ts";
import { isRecord } from "../../yaml/read-yaml.ts";

/** Kubernetes judges the rest of a node. */
export const anySchema = Type.Unknown();

export interface Node extends KubeObject {
  readonly kind: "Node";
}

/** `status.addresses` of type InternalIP, in their order. */
export function internalIpsOf(node: KubeObject): readonly string[] {
  const addresses = isRecord(node.status) ? node.status["addresses"] : undefined;
  if (!Array.isArray(addresses)) return [];
  return addresses.flatMap((entry: unknown) =>
    isRecord(entry) && entry["type"] === "InternalIP" && typeof entry["address"] === "string" ? [entry["address"]] : [],
  );
}
