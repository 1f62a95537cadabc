import type { AnyObject } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient } from "@bpfleet/kube-client";
import { optional } from "../desired/manifest.ts";
import type { Taint } from "../fleet/taints.ts";
import { resources } from "../reconcile/resources.ts";
import type { Teller } from "../run/part.ts";

/** What is kept of a Node. */
export interface KnownNode extends AnyObject {
  readonly addresses: readonly string[];
  readonly taints: readonly Taint[];
  /** Its kubelet has been silent for longer than the cluster waits: nobody knows what is on it. */
  readonly isLost: boolean;
}

interface WireNode {
  readonly spec?: { readonly taints?: readonly Taint[] };
  readonly status?: {
    readonly addresses?: readonly { readonly type?: string; readonly address?: string }[];
    readonly conditions?: readonly { readonly type?: string; readonly status?: string }[];
  };
}

/** The nodes that there are. */
export class NodeRegister implements AsyncDisposable {
  readonly #informer: Informer<KnownNode>;

  constructor(client: KubeClient, teller: Teller) {
    this.#informer = createInformer<KnownNode>(client, {
      resource: resources.nodes,
      transform: compactNode,
      onFault: (error) => teller.fault(error),
    }).start();
  }

  get size(): number {
    return this.#informer.size;
  }

  has(name: string): boolean {
    return this.#informer.find(name) !== undefined;
  }

  find(name: string): KnownNode | undefined {
    return this.#informer.find(name);
  }

  isLost(name: string): boolean {
    return this.#informer.find(name)?.isLost === true;
  }

  list(): readonly KnownNode[] {
    return this.#informer.list();
  }

  synced(signal: AbortSignal): Promise<void> {
    return this.#informer.synced(signal);
  }

  /** When a node comes or goes. */
  onChange(listener: (name: string, isThere: boolean) => void): void {
    this.#informer.onChange(({ type, object }) => {
      if (type !== "updated") listener(object.metadata.name, type === "added");
    });
  }

  /** When a node is lost or heard from again. */
  onLoss(listener: (name: string) => void): void {
    this.#informer.onChange((change) => {
      if (change.type === "updated" && change.before.isLost !== change.object.isLost)
        listener(change.object.metadata.name);
    });
  }

  /** When what is kept of a node changes too. */
  onAddresses(listener: () => void): void {
    this.#informer.onChange((change) => {
      if (change.type !== "updated" || essence(change.before) !== essence(change.object)) listener();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#informer.stop();
  }
}

function compactNode(object: KnownNode): KnownNode {
  const { name, uid, resourceVersion, labels } = object.metadata;
  const { spec: { taints = [] } = {}, status: { addresses: wire = [], conditions = [] } = {} } = object as WireNode;
  const addresses = wire.flatMap(({ type, address }) =>
    address !== undefined && (type === "InternalIP" || type === "ExternalIP") ? [address] : [],
  );
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: { name, uid, resourceVersion, labels },
    addresses,
    taints: taints.map(({ key, value, effect }) => ({ key, ...optional("value", value), effect })),
    // False is said by a kubelet that runs, and then the agent runs most likely too.
    isLost: conditions.some(({ type, status }) => type === "Ready" && status === "Unknown"),
  };
}

function essence({ metadata, addresses }: KnownNode): string {
  return JSON.stringify([metadata.labels, addresses]);
}
