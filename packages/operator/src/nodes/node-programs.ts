import type { DefinedKind } from "@bpfleet/kinds";
import type { AnyObject, ResourceType } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient } from "@bpfleet/kube-client";
import { isMade } from "../desired/access.ts";
import { kindPolicy } from "../reconcile/resources.ts";
import type { Teller } from "../run/part.ts";

/** What is kept of an object that an agent made of a config. */
export interface NodeProgramHeader extends AnyObject {
  /** The config's name. */
  readonly owner: string;
  readonly ownerUid: string | undefined;
  /** As its spec says it, where it does. */
  readonly node: string | undefined;
  readonly lastCondition: string | undefined;
}

const ownerLabel = "owningConfig";

/** The objects that agents make of configs, of every node, without what is in them. */
export class NodePrograms implements AsyncDisposable {
  readonly #informers: readonly (readonly [DefinedKind, Informer<NodeProgramHeader>])[];

  constructor(client: KubeClient, kinds: readonly DefinedKind[], teller: Teller) {
    this.#informers = kinds.filter(isMade).map((kind) => [
      kind,
      createInformer<NodeProgramHeader>(client, {
        resource: typeOf(kind),
        transform: headerOf,
        policy: kindPolicy,
        indexes: { owner: ({ owner }) => [owner] },
        onFault: (error) => teller.fault(error),
      }).start(),
    ]);
  }

  async synced(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#informers.map(([, informer]) => informer.synced(signal)));
  }

  /** Those that were made of a config, by name and, where both are known, uid. */
  ofConfig(config: AnyObject): readonly NodeProgramHeader[] {
    const { name, uid } = config.metadata;
    return this.#informers.flatMap(([kind, informer]) =>
      kind.madeFrom === config.kind
        ? informer
            .byIndex("owner", name)
            .filter(({ ownerUid }) => ownerUid === undefined || uid === undefined || ownerUid === uid)
        : [],
    );
  }

  all(): readonly { readonly type: ResourceType; readonly program: NodeProgramHeader }[] {
    return this.#informers.flatMap(([kind, informer]) =>
      informer.list().map((program) => ({ type: typeOf(kind), program })),
    );
  }

  /** Told of the config whose object came, went, or says something else. */
  onChange(listener: (config: string) => void): void {
    for (const [, informer] of this.#informers) informer.onChange(({ object }) => listener(object.owner));
  }

  /** Told of each that is to be deleted and is still there. */
  onDeletion(listener: (program: NodeProgramHeader) => void): void {
    for (const [, informer] of this.#informers)
      informer.onChange(({ type, object }) => {
        if (type !== "deleted" && object.metadata.deletionTimestamp !== undefined) listener(object);
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#informers.map(([, informer]) => informer.stop()));
  }
}

function typeOf({ group, version, plural }: DefinedKind): ResourceType {
  return { group, version, plural };
}

interface WireProgram {
  readonly spec?: { readonly node?: unknown };
  readonly status?: { readonly conditions?: readonly { readonly type?: string }[] };
}

function headerOf(object: NodeProgramHeader): NodeProgramHeader {
  const { name, uid, resourceVersion, labels, finalizers, deletionTimestamp, ownerReferences } = object.metadata;
  const { spec, status } = object as WireProgram;
  const [owner] = ownerReferences ?? [];
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: { name, uid, resourceVersion, finalizers, deletionTimestamp },
    // A label has not room for every name.
    owner: owner?.name ?? labels?.[ownerLabel] ?? "",
    ownerUid: owner?.uid,
    node: typeof spec?.node === "string" ? spec.node : undefined,
    lastCondition: status?.conditions?.at(-1)?.type,
  };
}
