import { refKey } from "@bpfleet/base";
import type { DefinedKind, FleetOutcome, NodeResult } from "@bpfleet/kinds";
import { awaitChange, recheckAfter, type AnyObject, type Outcome } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { finalizers } from "../desired/names.ts";
import type { NodePrograms } from "../nodes/node-programs.ts";
import type { NodeRegister } from "../nodes/node-register.ts";
import { kindPolicy, resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { changedResults, compactNodeState, expandResult, Interning, type NodeReport } from "./node-report.ts";
import { typeOf } from "../fleet/remove-from-cluster.ts";
import { tellUnattended } from "../fleet/unattended.ts";
import { betweenWritesMs, usualPace, type Pace } from "./pace.ts";
import { StatusWriter } from "./status-writer.ts";

export interface AggregatorOptions {
  readonly client: KubeClient;
  /** Kinds whose objects get a status of us. */
  readonly kinds: readonly DefinedKind[];
  /** Whether objects of a kind are followed by the nodes: of others no status is written. */
  readonly isFollowed: (kind: DefinedKind) => boolean;
  /** Whether it is known that they are not: before the fleet was looked at, neither is. */
  readonly isLeft: (kind: DefinedKind) => boolean;
  readonly nodes: NodeRegister;
  readonly programs: NodePrograms;
  /** By which agents run. */
  readonly daemonSet: () => AnyObject | undefined;
  /** Whether it has a pod on a node. */
  readonly hasPod: (node: string) => boolean;
  readonly teller: Teller;
  readonly timing: Timing;
  readonly activity: Activity;
  readonly pace?: Partial<Pace> | undefined;
}

const remainingMs = 5000;
/** A key that no object has. */
const everything = "everything";

/** Makes the status of every object of what its nodes say. One writer, whatever the number of nodes. */
export class Aggregator implements Part {
  readonly name = "status";
  readonly #options: AggregatorOptions;
  readonly #pace: Pace;
  readonly #interning = new Interning();
  readonly #reports: Informer<NodeReport>;
  readonly #objects = new Map<string, { readonly kind: DefinedKind; readonly informer: Informer<AnyObject> }>();
  readonly #writer: StatusWriter;
  /** When each object was last written, or would have been. */
  readonly #lastAt = new Map<string, number>();
  /** What came of objects while their status was on its way: the event of our own write may come before its answer. */
  readonly #writing = new Map<string, AnyObject[]>();
  /** Objects of kinds that are not followed, which have no status of ours any more. */
  readonly #withdrawn = new Set<string>();
  readonly #work: LeadingController;

  constructor(options: AggregatorOptions) {
    this.#options = options;
    this.#pace = { ...usualPace, ...options.pace };
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      workers: this.#pace.workers,
      reconcile: async (key, stop) => {
        if (key !== everything) return this.#write(key, stop);
        this.#lookAtEach();
        return awaitChange;
      },
    });
    const { client, kinds, nodes, programs, teller, timing } = options;
    this.#reports = createInformer<NodeReport>(client, {
      resource: resources.nodeStates,
      transform: (object) => compactNodeState(object, this.#interning),
      onFault: (error) => teller.fault(error),
    });
    this.#reports.onChange((change) => {
      const isNew = change.type === "added" || change.type === "deleted";
      if (isNew) return this.#everything();
      const { before, object } = change;
      if (before.lostBecause !== object.lostBecause || before.cut !== object.cut) return this.#everything();
      for (const [key, difference] of changedResults(change.before, change.object))
        this.#soon(key, betweenWritesMs(this.#pace, options.nodes.size, difference));
    });
    for (const kind of kinds) {
      const informer = createInformer<AnyObject>(client, {
        resource: { group: kind.group, version: kind.version, plural: kind.plural },
        transform: withoutSpec,
        policy: kindPolicy,
        onFault: (error) => teller.fault(error),
      });
      this.#objects.set(`${kind.group}/${kind.kind}`, { kind, informer });
      informer.onChange(({ type, object }) => {
        const key = keyOf(kind, object);
        if (type !== "deleted") {
          const meanwhile = this.#writing.get(key);
          if (meanwhile !== undefined) return void meanwhile.push(object);
          // Our own write is no reason to look again: numbers that grow meanwhile would make it an endless one.
          return this.#writer.isOwn(kind, object) ? undefined : this.#soon(key, this.#betweenMs);
        }
        this.#forget(key, kind, object);
      });
    }
    this.#writer = new StatusWriter({
      client,
      clock: timing,
      onWrite: ({ kind, metadata }) => teller.wrote("status", `${kind} ${metadata.name}`),
      onRefused: (message) => teller.note(message),
    });
    nodes.onChange(() => this.#everything());
    nodes.onLoss(() => this.#everything());
    programs.onChange((config) => {
      for (const { kind } of this.#objects.values())
        if (kind.group === "bpfd.io")
          this.#soon(refKey({ group: kind.group, kind: kind.kind, namespace: "", name: config }), this.#betweenMs);
    });
    for (const informer of [this.#reports, ...[...this.#objects.values()].map(({ informer: each }) => each)])
      informer.start();
  }

  /** What decides of every status has changed. */
  look(): void {
    this.#everything();
  }

  /** Its CRD is another: what the one before refused may have a place. */
  lookAgain(kind: DefinedKind): void {
    this.#writer.forgetSchema(kind);
    const found = this.#objects.get(`${kind.group}/${kind.kind}`);
    for (const object of found?.informer.list() ?? []) this.#soon(keyOf(kind, object), this.#betweenMs);
  }

  /** What every node told. */
  get states(): Pick<Informer<NodeReport>, "synced" | "list" | "find" | "onChange"> {
    return this.#reports;
  }

  /** The objects of each kind, as far as a status needs them. */
  get collections(): readonly { readonly kind: DefinedKind; readonly informer: Informer<AnyObject> }[] {
    return [...this.#objects.values()];
  }

  /** For metrics. */
  get sizes(): { readonly reports: number; readonly objects: number; readonly waiting: number } {
    const objects = [...this.#objects.values()].reduce((sum, { informer }) => sum + informer.size, 0);
    return { reports: this.#reports.size, objects, waiting: this.#work.waiting };
  }

  async lead(signal: AbortSignal): Promise<void> {
    const { nodes, programs } = this.#options;
    await Promise.all([this.#reports.synced(signal), nodes.synced(signal), programs.synced(signal)]);
    // Who led meanwhile may have written what was taken back.
    this.#withdrawn.clear();
    await this.#work.lead(signal, () => this.#lookAtEach());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [this.#reports, ...[...this.#objects.values()].map(({ informer }) => informer)].map((each) => each.stop()),
    );
  }

  get #betweenMs(): number {
    return betweenWritesMs(this.#pace, this.#options.nodes.size, "state");
  }

  /** A zone that is lost is many nodes at about the same time, and one look at each object. */
  #everything(): void {
    this.#work.addAfter(everything, this.#pace.gatherMs);
  }

  #lookAtEach(): void {
    for (const { kind, informer } of this.#objects.values())
      for (const object of informer.list()) this.#soon(keyOf(kind, object), this.#betweenMs);
  }

  /** Not sooner after the last write than `betweenMs`, so that a change on all nodes is few writes. */
  #soon(key: string, betweenMs: number): void {
    if (!this.#work.isLeading) return;
    const sinceMs = this.#options.timing.monotonicMs() - (this.#lastAt.get(key) ?? -Infinity);
    this.#work.addAfter(key, Math.max(this.#pace.gatherMs, betweenMs - sinceMs));
  }

  async #write(key: string, signal: AbortSignal): Promise<Outcome> {
    if (!this.#options.activity.isServing) return this.#options.activity.askAgain();
    const [group = "", kindName = "", namespace = "", name = ""] = key.split("/");
    const found = this.#objects.get(`${group}/${kindName}`);
    const object = found?.informer.get(namespace, name);
    if (found === undefined || object === undefined) return awaitChange;
    if (!this.#options.isFollowed(found.kind)) return this.#withdraw(key, found.kind, object, signal);
    this.#withdrawn.delete(key);
    const now = this.#options.timing.monotonicMs();
    const waitMs = (this.#lastAt.get(key) ?? -Infinity) + this.#betweenMs - now;
    if (waitMs > 0) return recheckAfter(waitMs);
    const { kind } = found;
    const outcome = { ...this.#resultsOf(key, object), ...this.#remaining(kind, object) };
    const type = typeOf(kind);
    const meanwhile: AnyObject[] = [];
    this.#writing.set(key, meanwhile);
    try {
      // What changes while it is on its way is not written sooner for that.
      const before = this.#lastAt.get(key);
      this.#lastAt.set(key, now);
      if (!(await this.#writer.write(kind, type, object, outcome, signal))) this.#lastAt.set(key, before ?? -Infinity);
    } finally {
      this.#writing.delete(key);
      this.#forgetGone(key, kind, object);
    }
    // What others did meanwhile was not looked at, also where our write came after it.
    if (meanwhile.some((each) => !this.#writer.isOwn(kind, each))) this.#soon(key, this.#betweenMs);
    // Whether anybody unloads it is a matter of labels and taints of nodes too.
    return (outcome.remaining ?? []).length > 0 ? recheckAfter(remainingMs) : awaitChange;
  }

  /** What was in force by us is not any more: nobody would correct the status. */
  async #withdraw(key: string, kind: DefinedKind, object: AnyObject, signal: AbortSignal): Promise<Outcome> {
    if (!this.#options.isLeft(kind) || this.#withdrawn.has(key)) return awaitChange;
    await this.#writer.withdraw(kind, typeOf(kind), object, signal);
    this.#withdrawn.add(key);
    this.#forgetGone(key, kind, object);
    return awaitChange;
  }

  /** It may have gone while its status was on its way: its event was then before our answer. */
  #forgetGone(key: string, kind: DefinedKind, object: AnyObject): void {
    const { namespace, name } = object.metadata;
    const there = this.#objects.get(`${kind.group}/${kind.kind}`)?.informer.get(namespace, name);
    if (there === undefined) this.#forget(key, kind, object);
  }

  #forget(key: string, kind: DefinedKind, object: AnyObject): void {
    this.#writer.forget(kind, object);
    this.#lastAt.delete(key);
    this.#withdrawn.delete(key);
  }

  #resultsOf(
    key: string,
    { metadata }: AnyObject,
  ): Pick<FleetOutcome, "results" | "silentNodes" | "lostNodes" | "notListed"> {
    const { nodes } = this.#options;
    const results: NodeResult[] = [];
    const [silentNodes, lostNodes]: [string[], string[]] = [[], []];
    const notListed: { nodeName: string; isSound: boolean }[] = [];
    for (const report of this.#reports.list()) {
      const nodeName = report.metadata.name;
      if (!nodes.has(nodeName)) continue;
      const result = report.results.get(key);
      const isOther = result?.said.uid !== undefined && result.said.uid !== metadata.uid;
      const isTold = result !== undefined && !isOther;
      if (isTold) results.push(expandResult(nodeName, result));
      if (nodes.isLost(nodeName) || report.lostBecause !== undefined) lostNodes.push(nodeName);
      else if (result === undefined && report.cut !== undefined)
        notListed.push({ nodeName, isSound: report.cut === "sound" });
      else if (!isTold) silentNodes.push(nodeName);
    }
    return { results, silentNodes, lostNodes, notListed };
  }

  #remaining(kind: DefinedKind, object: AnyObject): Pick<FleetOutcome, "remaining" | "unattended"> {
    if (kind.group !== "bpfd.io" || object.metadata.deletionTimestamp === undefined) return {};
    const { programs, nodes, daemonSet, hasPod } = this.#options;
    const made = programs.ofConfig(object);
    const waiting = made.filter(({ metadata }) => metadata.finalizers?.includes(finalizers.program) === true);
    return {
      remaining: made.map((program) => ({
        name: program.metadata.name,
        cannotUnload: program.lastCondition === "NotUnLoaded",
      })),
      unattended: tellUnattended(waiting, nodes, daemonSet(), hasPod),
    };
  }
}

function keyOf(kind: DefinedKind, { metadata }: AnyObject): string {
  return refKey({ group: kind.group, kind: kind.kind, namespace: metadata.namespace ?? "", name: metadata.name });
}

/** What people declare may be large; its status does not need it. */
function withoutSpec(object: AnyObject): AnyObject {
  const { apiVersion, kind, metadata } = object;
  const { managedFields: _, annotations: _annotations, labels: _labels, ...kept } = metadata;
  return { apiVersion, kind, metadata: kept, status: object["status"] };
}
