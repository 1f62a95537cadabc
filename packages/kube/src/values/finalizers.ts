import type { ApiObject, ObjectMeta, OwnerReference } from "../api-object.ts";

type WithMeta = { readonly metadata: Pick<ObjectMeta, "finalizers" | "resourceVersion" | "deletionTimestamp"> };

export type JsonPatch = readonly (
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string }
)[];

export function hasFinalizer(object: WithMeta, finalizer: string): boolean {
  return object.metadata.finalizers?.includes(finalizer) === true;
}

export function isBeingDeleted(object: WithMeta): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}

/** A JSON patch, refused (422) when the finalizers changed meanwhile; `undefined` when it is there already. */
export function addFinalizerPatch(object: WithMeta, finalizer: string): JsonPatch | undefined {
  const { finalizers } = object.metadata;
  if (hasFinalizer(object, finalizer) || isBeingDeleted(object)) return undefined;
  return finalizersPatch(finalizers, [...(finalizers ?? []), finalizer]);
}

/** A JSON patch, refused (422) when the finalizers changed meanwhile; `undefined` when it is not there. */
export function removeFinalizerPatch(object: WithMeta, finalizer: string): JsonPatch | undefined {
  const { finalizers } = object.metadata;
  if (!hasFinalizer(object, finalizer)) return undefined;
  return finalizersPatch(finalizers, finalizers?.filter((other) => other !== finalizer) ?? []);
}

function finalizersPatch(before: readonly string[] | undefined, after: readonly string[]): JsonPatch {
  const path = "/metadata/finalizers";
  if (before === undefined) return [{ op: "add", path, value: after }];
  return [
    { op: "test", path, value: before },
    { op: "replace", path, value: after },
  ];
}

/** Goes with its owner; the garbage collector of the cluster sees to that. */
export function ownedBy(owner: ApiObject, options: { readonly isController?: boolean } = {}): OwnerReference {
  const { uid, name } = owner.metadata;
  if (uid === undefined)
    throw new TypeError(`own by ${owner.kind} ${name}: it has no uid; read it from the server first`);
  const { apiVersion, kind } = owner;
  const reference = { apiVersion, kind, name, uid };
  return options.isController === true ? { ...reference, controller: true, blockOwnerDeletion: true } : reference;
}
