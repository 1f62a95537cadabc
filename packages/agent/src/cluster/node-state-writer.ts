import { canonicalJson, errorText, renderTime, type Clock } from "@bpfleet/base";
import type { DaemonResults, DaemonVersion } from "@bpfleet/daemon";
import type { Inventory, NodePlan } from "@bpfleet/kernel";
import { boundNodeState, type Condition, type NodeStateResult, type NodeStateStatus } from "@bpfleet/kinds";
import { isApiError, resourcePath, type AnyObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import type { ObjectReport } from "../report.ts";
import { fieldManager } from "./agent-marks.ts";
import { inventoryFindings } from "./node-inventory.ts";
import { resultsOfReports, type Unwritten } from "./node-results.ts";
import { NumbersRound } from "./numbers-round.ts";
import { Repeat } from "./repeat.ts";
import { WriteSpread } from "./write-spread.ts";

export interface NodeStateWriterOptions {
  readonly client: Pick<KubeClient, "find" | "request" | "apply" | "updateStatus">;
  readonly nodeName: string;
  /** Of the agent. */
  readonly version: string;
  readonly clock: Clock;
  readonly daemon: {
    version(): DaemonVersion;
    inventory(): Promise<Inventory>;
  };
  readonly plan: () => NodePlan;
  /** The node's own object, as it was last seen. */
  readonly node: () => AnyObject | undefined;
  readonly whyNotSynced: () => string | undefined;
  readonly onNotice: (notice: string) => void;
  /** Of writes that tell news; 1 s when not given. */
  readonly paceMs?: number | undefined;
  /** Of looks, and in a small fleet of writes that tell numbers only; about 60 s when not given. */
  readonly refreshMs?: number | undefined;
  /** About how many nodes the fleet has: all of them tell news of one change, and numbers. */
  readonly nodes?: (() => number) | undefined;
}

const nodeStates = { group: "bpfleet.io", version: "v1alpha1", plural: "nodestates" } as const;
const apiVersion = "bpfleet.io/v1alpha1";
/** What an API server need not read from its store, and may send without what is in it. */
const glance = {
  query: "resourceVersion=0",
  accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
} as const;
/** What the operator keeps in it of an agent that it does not hear. */
const lastTold = "LastTold";
const usualPaceMs = 1000;
const usualRefreshMs = 60_000;

/** Keeps the one object of this node: soon when something became of an object; of mere numbers once in a while. */
export class NodeStateWriter implements AsyncDisposable {
  readonly #options: NodeStateWriterOptions;
  readonly #writes: Repeat;
  #results: readonly NodeStateResult[] = [];
  #daemonResults: DaemonResults | undefined;
  #inventory: Inventory = { programs: [], maps: [], links: [] };
  /** What was written last, without numbers and inventory; and with them. */
  #news = "";
  #whole = "";
  readonly #transitions = new Map<string, { readonly status: string; readonly at: string }>();
  readonly #spread = new WriteSpread();
  readonly #round = new NumbersRound();
  /** The object as the server had it last, where that is known. */
  #there: AnyObject | undefined;
  #isAbsent = false;
  #isNewsDue = false;
  #failure = "";
  #unsynced: string | undefined;

  constructor(options: NodeStateWriterOptions) {
    this.#options = options;
    this.#writes = new Repeat({
      paceMs: options.paceMs ?? usualPaceMs,
      run: () => this.#write(),
      onFailure: (error) => this.#tellFailure(error),
    });
  }

  /** What an earlier agent of this node wrote. */
  async read(): Promise<NodeStateStatus | undefined> {
    const { client, nodeName } = this.#options;
    this.#there = await client.find<AnyObject>({ ...nodeStates, name: nodeName });
    this.#isAbsent = this.#there === undefined;
    return this.#there?.["status"] as NodeStateStatus | undefined;
  }

  reports(reports: readonly ObjectReport[], results: DaemonResults, unwritten?: Unwritten): void {
    this.#results = resultsOfReports(reports, unwritten);
    this.#daemonResults = results;
    if (this.#newsOf() === this.#news) this.#writes.ask(this.#refreshMs());
    else this.#askForNews();
  }

  get #nodes(): number {
    return this.#options.nodes?.() ?? 1;
  }

  /** The daemon was lost, or is there again, or paused: what became of objects is told by `reports`. */
  daemonSays(results: DaemonResults): void {
    if (this.#daemonResults === undefined) return;
    this.#daemonResults = results;
    if (this.#newsOf() !== this.#news) this.#askForNews();
  }

  /** Whether everything is followed: nobody tells when that changes. */
  lookAtSync(): void {
    const unsynced = this.#options.whyNotSynced();
    if (unsynced === this.#unsynced || this.#daemonResults === undefined) return;
    this.#unsynced = unsynced;
    if (this.#newsOf() !== this.#news) this.#askForNews();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writes[Symbol.asyncDispose]();
  }

  /** Soon; in a large fleet not all nodes at the same moment, for a server has other work too. */
  #askForNews(): void {
    if (this.#isNewsDue) return;
    this.#isNewsDue = true;
    this.#writes.ask(Math.random() * this.#spread.windowMs(this.#nodes));
  }

  /** Not all nodes at the same moment. */
  #refreshMs(): number {
    return (this.#options.refreshMs ?? usualRefreshMs) * (0.8 + Math.random() * 0.2);
  }

  #newsOf(): string {
    return canonicalJson([
      this.#results.map(({ numbers: _numbers, ...result }) => result),
      this.#conditions(),
      this.#daemonResults?.isPaused,
    ]);
  }

  async #write(): Promise<void> {
    const { clock } = this.#options;
    this.#isNewsDue = false;
    const news = this.#newsOf();
    const observedAt = renderTime(clock.now());
    const status = await this.#status();
    const whole = canonicalJson({ ...status, conditions: news });
    const isSame = whole === this.#whole;
    const now = clock.monotonicMs();
    const refreshMs = this.#refreshMs();
    if (isSame) this.#round.missed(now, this.#nodes, refreshMs);
    const waitMs = this.#round.waitMs(now);
    const isWritten = this.#whole !== "" && news === this.#news && (isSame || waitMs > 0);
    if (isWritten && (await this.#isThere())) return this.#askForLook(refreshMs);
    await this.#replaceStatus({ ...status, observedAt, conditions: this.#timed(observedAt) });
    this.#news = news;
    this.#whole = whole;
    this.#failure = "";
    this.#round.told(clock.monotonicMs(), this.#nodes, refreshMs);
    this.#askForLook(refreshMs);
  }

  #askForLook(refreshMs: number): void {
    const waitMs = this.#round.waitMs(this.#options.clock.monotonicMs());
    this.#writes.ask(waitMs > 0 ? Math.min(refreshMs, waitMs) : refreshMs);
  }

  /**
   * Whether the server has what was written last: somebody may remove it, or edit what nobody else is to write. A server
   * that does not answer is no reason to write.
   */
  async #isThere(): Promise<boolean> {
    // With its node it goes.
    if (this.#options.node() === undefined) return true;
    try {
      const written = this.#there;
      if ((await this.#glance()) === written?.metadata.resourceVersion) return true;
      const found = await this.read();
      if (found !== undefined && this.#isOurs(found, written?.["status"] as NodeStateStatus | undefined)) return true;
    } catch (error) {
      if (isApiError(error)) return true;
      throw error;
    }
    // Also when it cannot be written at once.
    this.#whole = "";
    return false;
  }

  /** The version of the object; `""` where there is none. */
  async #glance(): Promise<string | undefined> {
    const path = `${resourcePath({ ...nodeStates, name: this.#options.nodeName })}?${glance.query}`;
    try {
      const seen = await this.#options.client.request({ method: "GET", path, accept: glance.accept });
      return (seen as AnyObject).metadata.resourceVersion;
    } catch (error) {
      if (isApiError(error) && error.isNotFound) return "";
      throw error;
    }
  }

  /** What the operator says of an agent that it does not hear it takes back itself. */
  #isOurs(found: NodeStateStatus, written: NodeStateStatus | undefined): boolean {
    const { conditions = [], ...rest } = found;
    const { conditions: _conditions, ...wrote } = written ?? {};
    if (canonicalJson(rest) !== canonicalJson(wrote)) return false;
    const isUnheard = conditions.some(({ type }) => type === lastTold);
    return this.#conditions().every(({ type, status, reason, message }) => {
      const told = conditions.find((each) => each.type === type);
      if (type === "Ready" && isUnheard) return true;
      return told?.status === status && told.reason === reason && told.message === message;
    });
  }

  /**
   * Replaced whole, since nobody else writes it: that costs an API server half of what server-side apply does. Where
   * somebody changed or removed it meanwhile, or an answer was lost, it is looked at and written once more.
   */
  async #replaceStatus(status: NodeStateStatus): Promise<void> {
    const { client, nodeName } = this.#options;
    for (let tries = 1; ; tries++) {
      const startedMs = performance.now();
      try {
        const { resourceVersion } = (await this.#object()).metadata;
        const body = { apiVersion, kind: "NodeState", metadata: { name: nodeName, resourceVersion }, status };
        this.#there = await client.updateStatus<AnyObject>({ ...nodeStates, name: nodeName }, body, {
          fieldManager,
        });
        return this.#spread.answered(performance.now() - startedMs);
      } catch (error) {
        this.#there = undefined;
        this.#isAbsent = false;
        if (tries === 1 && isApiError(error) && (error.isNotFound || error.status === 409)) continue;
        this.#spread.turnedAway();
        throw error;
      }
    }
  }

  /** As it is there; made where it is not. It goes with its node. */
  async #object(): Promise<AnyObject> {
    const { client, nodeName, node } = this.#options;
    const address = { ...nodeStates, name: nodeName };
    if (this.#there === undefined && !this.#isAbsent) await this.read();
    const uid = node()?.metadata.uid;
    const owner = uid === undefined ? [] : [{ apiVersion: "v1", kind: "Node", name: nodeName, uid }];
    const metadata = { name: nodeName, ...(owner.length > 0 && { ownerReferences: owner }) };
    const body = { apiVersion, kind: "NodeState", metadata };
    const there = this.#there;
    const owners = there?.metadata.ownerReferences?.map((each) => each.uid) ?? [];
    if (there !== undefined && (uid === undefined || owners.includes(uid))) return there;
    return client.apply<AnyObject>(address, body, { fieldManager, isForced: true });
  }

  async #status(): Promise<NodeStateStatus> {
    const { daemon, version, plan } = this.#options;
    const { version: daemonVersion, kernel, libbpf } = daemon.version();
    // While the daemon is away it is what it was.
    this.#inventory = await daemon.inventory().catch(() => this.#inventory);
    return boundNodeState({
      versions: { agent: version, daemon: daemonVersion, kernel, arch: process.arch, libbpf },
      isPaused: this.#daemonResults?.isPaused === true,
      results: this.#results,
      ...inventoryFindings(this.#inventory, plan()),
    });
  }

  #conditions(): readonly Omit<Condition, "lastTransitionTime">[] {
    const { trouble, isPaused, notKept } = this.#daemonResults ?? {};
    const unsynced = this.#options.whyNotSynced();
    const failed = this.#results.filter(({ state }) => state === "Failed").length;
    const why =
      trouble ?? unsynced ?? (isPaused === true ? "everything is detached until `ebpfctl resume`" : undefined);
    const reason = trouble !== undefined ? "DaemonTrouble" : unsynced !== undefined ? "NotSynced" : "Paused";
    const text = `the node does what is declared${failed === 0 ? "" : `, but for ${failed} that failed`}`;
    return [
      condition("Ready", why, reason, text),
      condition("DaemonReachable", trouble, "DaemonTrouble", "the daemon answers"),
      condition("Synced", unsynced, "NotSynced", "everything that is planned from is followed"),
      condition("Kept", notKept, "NotWritten", "what is in force is on the disk for the next boot"),
    ];
  }

  #timed(now: string): NonNullable<NodeStateStatus["conditions"]> {
    return this.#conditions().map((each) => {
      const before = this.#transitions.get(each.type);
      const lastTransitionTime = before?.status === each.status ? before.at : now;
      this.#transitions.set(each.type, { status: each.status, at: lastTransitionTime });
      return { ...each, lastTransitionTime };
    });
  }

  #tellFailure(error: unknown): void {
    const text = errorText(error);
    if (text !== this.#failure) this.#options.onNotice(text);
    this.#failure = text;
  }
}

function condition(
  type: string,
  why: string | undefined,
  bad: string,
  goodText: string,
): Omit<Condition, "lastTransitionTime"> {
  const message = (why ?? goodText).slice(0, 1024);
  return { type, status: why === undefined ? "True" : "False", reason: why === undefined ? type : bad, message };
}
