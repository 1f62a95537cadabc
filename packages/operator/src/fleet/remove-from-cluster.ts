import { fleetIndexPlace, type DefinedKind } from "@bpfleet/kinds";
import { isApiError, type AnyObject, type ResourceType } from "@bpfleet/kube";
import type { KubeClient, Timing } from "@bpfleet/kube-client";
import { isDeclared, isMade } from "../desired/access.ts";
import { finalizers } from "../desired/names.ts";
import { removeFinalizer, takeFinalizer } from "../nodes/finalizers.ts";
import { resources } from "../reconcile/resources.ts";
import type { Teller } from "../run/part.ts";
import { tryEach } from "../run/try-each.ts";

export interface RemovalOptions {
  readonly client: KubeClient;
  readonly kinds: readonly DefinedKind[];
  readonly teller: Teller;
  readonly timing: Timing;
  readonly signal: AbortSignal;
}

/**
 * When no agent is left: what agents made, what nodes told, and what would wait for them for ever. Throws where the API
 * server refuses any of it, after the rest.
 */
export async function removeFromCluster(options: RemovalOptions): Promise<void> {
  const { kinds, client, signal } = options;
  const configs = kinds.filter((kind) => isDeclared(kind) && kind.group === "bpfd.io");
  const tasks = [
    ...kinds.filter(isMade).map((kind) => () => removeAll(options, typeOf(kind), finalizers.program)),
    ...configs.map((kind) => () => release(options, typeOf(kind), finalizers.config)),
    () => removeAll(options, resources.nodeStates),
    () => removeAll(options, resources.addressSlices),
    () => client.delete({ ...resources.configMaps, ...fleetIndexPlace }, { signal }),
  ];
  await tryEach(tasks, signal, async (task) => void (await task()));
}

async function removeAll(options: RemovalOptions, type: ResourceType, finalizer?: string): Promise<void> {
  const { client, signal, teller } = options;
  await tryEach(pagesOf(options, type), signal, (page) =>
    tryEach(page, signal, async (object) => {
      const { name } = object.metadata;
      if (finalizer !== undefined) await takeFinalizer(client, type, object, finalizer, signal);
      if (await client.delete({ ...type, name }, { signal })) teller.wrote("delete", `${object.kind} ${name}`);
    }),
  );
}

async function release(options: RemovalOptions, type: ResourceType, finalizer: string): Promise<void> {
  const { client, signal } = options;
  await tryEach(pagesOf(options, type), signal, (page) =>
    tryEach(page, signal, async (object) => {
      if (object.metadata.finalizers?.includes(finalizer) === true)
        await removeFinalizer(client, type, object, finalizer, signal);
    }),
  );
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
