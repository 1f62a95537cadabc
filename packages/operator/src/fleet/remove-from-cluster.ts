import { fleetIndexPlace, type DefinedKind } from "@bpfleet/kinds";
import { isApiError, type AnyObject, type ResourceType } from "@bpfleet/kube";
import type { KubeClient, Timing } from "@bpfleet/kube-client";
import { isDeclared, isMade } from "../desired/access.ts";
import { finalizers } from "../desired/names.ts";
import { removeFinalizer, takeFinalizer } from "../nodes/finalizers.ts";
import { resources } from "../reconcile/resources.ts";
import type { Teller } from "../run/part.ts";

export interface RemovalOptions {
  readonly client: KubeClient;
  readonly kinds: readonly DefinedKind[];
  readonly teller: Teller;
  readonly timing: Timing;
  readonly signal: AbortSignal;
}

/** When no agent is left: what agents made, what nodes told, and what would wait for them for ever. */
export async function removeFromCluster(options: RemovalOptions): Promise<void> {
  const { kinds } = options;
  for (const kind of kinds.filter(isMade)) await removeAll(options, typeOf(kind), finalizers.program);
  for (const kind of kinds.filter((each) => isDeclared(each) && each.group === "bpfd.io"))
    await release(options, typeOf(kind), finalizers.config);
  await removeAll(options, resources.nodeStates);
  await removeAll(options, resources.addressSlices);
  await options.client.delete({ ...resources.configMaps, ...fleetIndexPlace }, { signal: options.signal });
}

async function removeAll(options: RemovalOptions, type: ResourceType, finalizer?: string): Promise<void> {
  const { client, signal, teller } = options;
  for await (const page of pagesOf(options, type))
    for (const object of page) {
      const { name } = object.metadata;
      if (finalizer !== undefined) await takeFinalizer(client, type, object, finalizer, signal);
      if (await client.delete({ ...type, name }, { signal })) teller.wrote("delete", `${object.kind} ${name}`);
    }
}

async function release(options: RemovalOptions, type: ResourceType, finalizer: string): Promise<void> {
  const { client, signal } = options;
  for await (const page of pagesOf(options, type))
    for (const object of page)
      if (object.metadata.finalizers?.includes(finalizer) === true)
        await removeFinalizer(client, type, object, finalizer, signal);
}

/** Nothing where the CRD is gone already. */
export async function* pagesOf(
  { client, signal }: RemovalOptions,
  type: ResourceType,
): AsyncIterable<readonly AnyObject[]> {
  try {
    yield* client.pages<AnyObject>(type, { signal });
  } catch (error) {
    if (!isApiError(error) || !error.isNotFound) throw error;
  }
}

export function typeOf({ group, version, plural }: DefinedKind): ResourceType {
  return { group, version, plural };
}
