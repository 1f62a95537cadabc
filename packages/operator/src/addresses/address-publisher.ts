import { packAddresses, type AddressSlice, type KnownAddress } from "@bpfleet/kinds";
import { awaitChange, compareResourceVersions, type AnyObject, type Outcome } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { fieldManager } from "../desired/names.ts";
import type { NodeRegister } from "../nodes/node-register.ts";
import { resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { addressesOf, compactPod, LabelSets, nodeAddresses, samePod, type AddressedPod } from "./known-addresses.ts";

export interface AddressPublisherOptions {
  readonly client: KubeClient;
  readonly nodes: NodeRegister;
  readonly teller: Teller;
  readonly timing: Timing;
  readonly activity: Activity;
  readonly pace?: { readonly gatherMs: number; readonly betweenMs: number } | undefined;
}

interface WireSlice extends AnyObject {
  readonly spec: AddressSlice["spec"];
}

/** A slice as it is kept: read it only to change it, since thousands of them as values are several times as large. */
interface KeptSlice extends AnyObject {
  readonly group: string;
  /** Its spec, in JSON. */
  readonly text: string;
}

/** Key of the addresses of nodes; no namespace is called so. */
const nodesKey = "/nodes";
const usualPace = { gatherMs: 200, betweenMs: 1000 };

/** Writes whose addresses they are, for agents that do not watch the pods of other nodes. */
export class AddressPublisher implements Part {
  readonly name = "addresses";
  readonly #options: AddressPublisherOptions;
  readonly #pace: NonNullable<AddressPublisherOptions["pace"]>;
  readonly #sets = new LabelSets();
  readonly #pods: Informer<AddressedPod>;
  readonly #slices: Informer<KeptSlice>;
  /** What we wrote, until it is seen. */
  readonly #written = new Map<string, KeptSlice | "removed">();
  readonly #lastAt = new Map<string, number>();
  readonly #work: LeadingController;

  constructor(options: AddressPublisherOptions) {
    this.#options = options;
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      workers: 2,
      reconcile: (key, stop) => this.#publish(key, stop),
    });
    this.#pace = options.pace ?? usualPace;
    const { client, nodes, teller } = options;
    this.#pods = createInformer<AddressedPod>(client, {
      resource: resources.pods,
      transform: (pod) => compactPod(pod, this.#sets),
      indexes: { namespace: ({ metadata }) => [metadata.namespace ?? ""] },
      onFault: (error) => teller.fault(error),
    });
    this.#pods.onChange((change) => {
      const { object } = change;
      if (change.type === "updated" ? samePod(change.before, object) : object.ips === "") return;
      this.#soon(object.metadata.namespace ?? "");
    });
    this.#slices = createInformer<KeptSlice>(client, {
      resource: resources.addressSlices,
      transform: (slice) => keepSlice(slice as AnyObject as WireSlice),
      indexes: { group: ({ group }) => [group] },
      onFault: (error) => teller.fault(error),
    });
    this.#slices.onChange(({ object, type }) => {
      const written = this.#written.get(object.metadata.name);
      if (written === "removed" ? type === "deleted" : written !== undefined && !isOlder(object, written))
        this.#written.delete(object.metadata.name);
      this.#soon(object.group);
    });
    nodes.onAddresses(() => this.#soon(nodesKey));
    this.#pods.start();
    this.#slices.start();
  }

  /** For metrics. */
  get sizes(): { readonly pods: number; readonly slices: number } {
    return { pods: this.#pods.size, slices: this.#slices.size };
  }

  /** Every pod that runs or is about to; `undefined` until they are known. */
  pods(): readonly AddressedPod[] | undefined {
    return this.#pods.isSynced ? this.#pods.list() : undefined;
  }

  async lead(signal: AbortSignal): Promise<void> {
    const { nodes } = this.#options;
    await Promise.all([this.#pods.synced(signal), this.#slices.synced(signal), nodes.synced(signal)]);
    this.#written.clear();
    await this.#work.lead(signal, () => {
      const groups = [
        ...this.#pods.list().map(({ metadata }) => metadata.namespace ?? ""),
        ...this.#slices.list().map(({ group: each }) => each),
        nodesKey,
      ];
      for (const group of new Set(groups)) this.#work.add(group);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#pods.stop(), this.#slices.stop()]);
  }

  #soon(group: string): void {
    if (!this.#work.isLeading) return;
    const sinceMs = this.#options.timing.monotonicMs() - (this.#lastAt.get(group) ?? -Infinity);
    this.#work.addAfter(group, Math.max(this.#pace.gatherMs, this.#pace.betweenMs - sinceMs));
  }

  async #publish(group: string, signal: AbortSignal): Promise<Outcome> {
    if (!this.#options.activity.isServing) return this.#options.activity.askAgain();
    const { client, teller, timing } = this.#options;
    this.#lastAt.set(group, timing.monotonicMs());
    const [current, wanted] = [this.#current(group), this.#wanted(group)];
    // Nobody is in it any more.
    if (current.length === 0 && wanted.length === 0) this.#lastAt.delete(group);
    const { write, remove } = packAddresses(current, wanted);
    for (const slice of write) {
      const answer = await client.apply<WireSlice>(resources.addressSlices, slice, {
        fieldManager,
        isForced: true,
        signal,
      });
      const seen = this.#slices.find(slice.metadata.name);
      if (seen === undefined || isOlder(seen, answer)) this.#written.set(slice.metadata.name, keepSlice(answer));
      teller.wrote("apply", `AddressSlice ${slice.metadata.name}`);
    }
    for (const name of remove) {
      await client.delete({ ...resources.addressSlices, name }, { signal });
      // Its event may have come before the answer.
      if (this.#slices.find(name) !== undefined) this.#written.set(name, "removed");
      teller.wrote("delete", `AddressSlice ${name}`);
    }
    return awaitChange;
  }

  #wanted(group: string): readonly KnownAddress[] {
    if (group === nodesKey) return this.#options.nodes.list().flatMap((node) => nodeAddresses(node, this.#sets));
    return this.#pods.byIndex("namespace", group).flatMap((pod) => addressesOf(pod));
  }

  /** As they are, with what we wrote and did not see yet. */
  #current(group: string): readonly AddressSlice[] {
    const seen = new Map(this.#slices.byIndex("group", group).map((slice) => [slice.metadata.name, slice]));
    for (const [name, written] of this.#written) {
      if (written === "removed") seen.delete(name);
      else if (written.group === group) seen.set(name, written);
    }
    return Array.from(seen.values(), readSlice);
  }
}

function keepSlice({ apiVersion, kind, metadata: { name, uid, resourceVersion }, spec }: WireSlice): KeptSlice {
  return {
    apiVersion,
    kind,
    metadata: { name, uid, resourceVersion },
    group: groupOf(spec),
    text: JSON.stringify(spec),
  };
}

function readSlice({ apiVersion, kind, metadata, text }: KeptSlice): WireSlice {
  return { apiVersion, kind, metadata, spec: JSON.parse(text) as AddressSlice["spec"] };
}

function groupOf({ of, namespace }: Pick<AddressSlice["spec"], "of" | "namespace">): string {
  return of === "Node" ? nodesKey : (namespace ?? "");
}

function isOlder(a: AnyObject, b: AnyObject): boolean {
  return (compareResourceVersions(a.metadata.resourceVersion ?? "", b.metadata.resourceVersion ?? "") ?? 0) < 0;
}
