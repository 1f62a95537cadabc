import { isApiError, removeFinalizerPatch, type AnyObject, type ObjectMeta, type ResourceType } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { fieldManager } from "../desired/names.ts";

/** Puts a finalizer on an object, beside those of others. */
export async function addFinalizer(
  client: KubeClient,
  type: ResourceType,
  object: AnyObject,
  finalizer: string,
  signal: AbortSignal,
): Promise<void> {
  await apply(client, type, object, { finalizers: [finalizer] }, signal);
}

/** Takes back a finalizer that we have put. False when the object is gone. */
export async function removeFinalizer(
  client: KubeClient,
  type: ResourceType,
  object: AnyObject,
  finalizer: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const left = await apply(client, type, object, {}, signal);
    // Others have put it too, such as who restored the object from a copy.
    return await takeFinalizer(client, type, left, finalizer, signal);
  } catch (error) {
    if (isApiError(error) && (error.isNotFound || error.isConflict)) return false;
    throw error;
  }
}

/** Takes away a finalizer that another has put, which applying cannot do. False when the object is gone. */
export async function takeFinalizer(
  client: KubeClient,
  type: ResourceType,
  object: AnyObject,
  finalizer: string,
  signal: AbortSignal,
): Promise<boolean> {
  const patch = removeFinalizerPatch(object, finalizer);
  if (patch === undefined) return true;
  const { name, namespace } = object.metadata;
  try {
    await client.patch({ ...type, namespace, name }, patch, { type: "json", fieldManager, signal });
    return true;
  } catch (error) {
    if (isApiError(error) && error.isNotFound) return false;
    throw error;
  }
}

/** Of this very object: applied to one that is gone it would make another. */
function apply(
  client: KubeClient,
  type: ResourceType,
  { apiVersion, kind, metadata: { name, namespace, uid } }: AnyObject,
  wanted: Pick<ObjectMeta, "finalizers">,
  signal: AbortSignal,
): Promise<AnyObject> {
  const body = { apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }), uid, ...wanted } };
  return client.apply<AnyObject>(type, body, { fieldManager, isForced: true, signal });
}
