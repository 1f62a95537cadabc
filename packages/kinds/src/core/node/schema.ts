import { isRecord } from "@bpfleet/base";
import type { KubeObject } from "../../kind.ts";
import { Type } from "../../schema/type.ts";

/** Kubernetes judges the rest of a node. */
export const anySchema = Type.Unknown();

export interface Node extends KubeObject {
  readonly kind: "Node";
}

/** `status.addresses` of type InternalIP, in their order. */
export function internalIpsOf(node: KubeObject): readonly string[] {
  return addressesOf(node, ["InternalIP"]);
}

/** All addresses by which others know the node, each once. */
export function nodeAddressesOf(node: KubeObject): readonly string[] {
  return [...new Set(addressesOf(node, ["InternalIP", "ExternalIP"]))];
}

function addressesOf({ status }: KubeObject, types: readonly string[]): readonly string[] {
  const addresses = isRecord(status) ? status["addresses"] : undefined;
  if (!Array.isArray(addresses)) return [];
  return addresses.flatMap((entry: unknown) =>
    isRecord(entry) && types.includes(String(entry["type"])) && typeof entry["address"] === "string"
      ? [entry["address"]]
      : [],
  );
}
