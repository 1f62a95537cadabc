import type { ObjectMeta } from "@bpfleet/base";

export type { ObjectMeta, OwnerReference } from "@bpfleet/base";

/** Any object as the API server hands it out. */
export interface ApiObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** An object of which the fields are not known here. */
export interface AnyObject extends ApiObject {
  readonly [field: string]: unknown;
}

export interface ObjectList<T extends ApiObject> {
  readonly resourceVersion: string;
  readonly items: readonly T[];
  /** Where the next page begins; absent on the last one. */
  readonly next?: string | undefined;
  readonly remaining?: number | undefined;
}

/** `namespace/name`, or the name of a cluster-scoped object. */
export function objectKey(object: { readonly metadata: Pick<ObjectMeta, "name" | "namespace"> }): string {
  return keyOf(object.metadata.namespace, object.metadata.name);
}

export function keyOf(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}
