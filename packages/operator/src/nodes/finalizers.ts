import { isApiError, type AnyObject, type ResourceType } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { fieldManager } from "../desired/names.ts";

/** Adds or takes away one finalizer, if nobody changed the object meanwhile. False when it is gone. */
export async function setFinalizers(
  client: KubeClient,
  type: ResourceType,
  object: AnyObject,
  finalizers: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  const { name, namespace, resourceVersion } = object.metadata;
  const patch = { metadata: { resourceVersion, finalizers } };
  try {
    await client.patch({ ...type, namespace, name }, patch, { type: "merge", fieldManager, signal });
    return true;
  } catch (error) {
    if (isApiError(error) && error.isNotFound) return false;
    throw error;
  }
}
