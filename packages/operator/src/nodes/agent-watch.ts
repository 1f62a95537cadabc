import { renderTime } from "@bpfleet/base";
import { type Condition, type NodeState } from "@bpfleet/kinds";
import { awaitChange, recheckAfter, type AnyObject, type Outcome } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { daemonLabels, daemonSetName, fieldManager, ownNamespace } from "../desired/names.ts";
import { resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { lastToldCondition, type NodeReport } from "../status/node-report.ts";
import { judgeAgent, type AgentVerdict } from "./agent-verdict.ts";
import type { NodeRegister } from "./node-register.ts";
import { Silence } from "./silence.ts";

export interface AgentWatchOptions {
  readonly client: KubeClient;
  readonly nodes: NodeRegister;
  /** What nodes told; kept elsewhere, so that it is read once. */
  readonly states: Pick<Informer<NodeReport>, "synced" | "list" | "find" | "onChange">;
  readonly teller: Teller;
  readonly timing: Timing;
  readonly activity: Activity;
  /** So long may an agent be away, as while its pod is replaced; longer than it lets pass between two reports of numbers. */
  readonly graceMs?: number | undefined;
}

interface AgentPod extends AnyObject {
  readonly node: string;
  readonly isReady: boolean;
}

interface WirePod {
  readonly spec?: { readonly nodeName?: string };
  readonly status?: {
    readonly containerStatuses?: readonly { readonly name?: string; readonly ready?: boolean }[];
  };
}

interface WireSet {
  readonly status?: { readonly observedGeneration?: number };
}

const usualGraceMs = 90_000;
const agentContainer = "bpfd-agent";

/**
 * Says of a node's report that nobody stands for it any more: its kubelet is silent, or its agent is gone. Agents write
 * only what changes, so that the age of a report says nothing; their pods do.
 */
export class AgentWatch implements Part {
  readonly name = "agents";
  readonly #options: AgentWatchOptions;
  readonly #pods: Informer<AgentPod>;
  readonly #set: Informer<AnyObject>;
  readonly #silence: Silence;
  #podsAreMade = false;
  readonly #work: LeadingController;

  constructor(options: AgentWatchOptions) {
    this.#options = options;
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      reconcile: (name, stop) => this.#judge(name, stop),
    });
    const { client, nodes, states, teller, timing } = options;
    this.#silence = new Silence(timing);
    this.#pods = createInformer<AgentPod>(client, {
      resource: { ...resources.pods, namespace: ownNamespace },
      labelSelector: `name=${daemonLabels.name}`,
      transform: compactPod,
      indexes: { node: ({ node }) => [node] },
      onFault: (error) => teller.fault(error),
    });
    this.#pods.onChange(({ object: { node } }) => this.#look(node));
    this.#set = createInformer<AnyObject>(client, {
      resource: { ...resources.daemonSets, namespace: ownNamespace, name: daemonSetName },
      onFault: (error) => teller.fault(error),
    });
    this.#set.onChange(({ type, object }) => {
      const isMade = type !== "deleted" && ((object as WireSet).status?.observedGeneration ?? 0) > 0;
      if (!isMade || this.#podsAreMade) return;
      this.#podsAreMade = true;
      this.#everybody();
    });
    states.onChange((change) => {
      const { name } = change.object.metadata;
      if (change.type === "deleted") this.#silence.forgetReport(name);
      else if (change.type === "added" || change.before.observedAt !== change.object.observedAt)
        this.#silence.wrote(name);
      const isOther = change.type !== "updated" || change.before.lostBecause !== change.object.lostBecause;
      if (isOther) this.#work.add(name);
    });
    nodes.onChange((name, isThere) => {
      if (!isThere) this.#silence.forgetNode(name);
      this.#look(name);
    });
    nodes.onLoss((name) => this.#work.add(name));
    this.#pods.start();
    this.#set.start();
  }

  /** Whether a pod of the DaemonSet is on a node, ready or not. */
  hasPod(node: string): boolean {
    return this.#pods.byIndex("node", node).length > 0;
  }

  async lead(signal: AbortSignal): Promise<void> {
    const { nodes, states } = this.#options;
    const informers = [nodes, states, this.#pods, this.#set];
    await Promise.all(informers.map((informer) => informer.synced(signal)));
    await this.#work.lead(signal, () => this.#everybody());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#pods.stop(), this.#set.stop()]);
  }

  #everybody(): void {
    for (const { metadata } of this.#options.states.list()) this.#work.add(metadata.name);
  }

  #look(node: string): void {
    const isThere = this.#options.nodes.has(node);
    this.#silence.see(node, { isThere, isReady: this.#unready(node) === undefined });
    this.#work.add(node);
  }

  /** The pods of a node, of which none has an agent that is ready. */
  #unready(node: string): readonly string[] | undefined {
    const pods = this.#pods.byIndex("node", node);
    return pods.some(({ isReady }) => isReady) ? undefined : pods.map(({ metadata }) => metadata.name);
  }

  async #judge(name: string, signal: AbortSignal): Promise<Outcome> {
    const { activity, nodes, states, graceMs = usualGraceMs } = this.#options;
    if (!activity.isServing) return activity.askAgain();
    const report = states.find(name);
    if (report === undefined || !nodes.has(name)) return awaitChange;
    const verdict = judgeAgent({
      isNodeLost: nodes.isLost(name),
      podsAreMade: this.#podsAreMade,
      unready: this.#unready(name),
      silentMs: this.#silence.forMs(name),
      graceMs,
    });
    if (verdict.is === "silent") {
      if (report.lostBecause !== verdict.reason) await this.#tellLost(report, verdict, signal);
    } else if (report.lostBecause !== undefined && (verdict.is === "heard" || report.lostBecause === "NodeLost"))
      await this.#tellHeard(name, signal);
    return verdict.is === "awaited" ? recheckAfter(verdict.ms) : awaitChange;
  }

  async #tellLost(
    { metadata: { name }, observedAt }: NodeReport,
    { reason, message }: Extract<AgentVerdict, { is: "silent" }>,
    signal: AbortSignal,
  ): Promise<void> {
    const live = await this.#options.client.find<AnyObject>({ ...resources.nodeStates, name }, { signal });
    const status = (live as NodeState | undefined)?.status;
    // It wrote meanwhile: that is seen in a moment.
    if (live === undefined || status?.observedAt !== observedAt) return;
    const ready = conditionOf(status, "Ready");
    const lastTransitionTime = this.#now();
    const lastTold = conditionOf(status, lastToldCondition) ?? {
      ...(ready ?? { status: "Unknown", reason: "NotTold", message: "it told nothing", lastTransitionTime }),
      type: lastToldCondition,
    };
    await this.#write(live, [{ type: "Ready", status: "Unknown", reason, message, lastTransitionTime }, lastTold], {
      because: message,
      signal,
    });
  }

  /** The agent need not write for it: where only the network was away, it has nothing new to tell. */
  async #tellHeard(name: string, signal: AbortSignal): Promise<void> {
    const live = await this.#options.client.find<AnyObject>({ ...resources.nodeStates, name }, { signal });
    const lastTold = conditionOf((live as NodeState | undefined)?.status, lastToldCondition);
    if (live === undefined || lastTold === undefined) return;
    const ready = { ...lastTold, type: "Ready", lastTransitionTime: this.#now() };
    await this.#write(live, [ready], { because: "its agent is heard again", signal });
  }

  /** With its version: what the agent wrote meanwhile is newer. */
  async #write(
    live: AnyObject,
    conditions: readonly Condition[],
    { because, signal }: { readonly because: string; readonly signal: AbortSignal },
  ): Promise<void> {
    const { apiVersion, kind, metadata } = live;
    const { name, uid, resourceVersion } = metadata;
    const body = { apiVersion, kind, metadata: { name, uid, resourceVersion }, status: { conditions } };
    const { client, teller } = this.#options;
    await client.applyStatus<AnyObject>({ ...resources.nodeStates, name }, body, {
      fieldManager,
      isForced: true,
      signal,
    });
    teller.wrote("patch", `NodeState ${name}`, because);
  }

  #now(): string {
    return renderTime(this.#options.timing.now());
  }
}

function conditionOf(status: NodeState["status"], type: string): Condition | undefined {
  return status?.conditions?.find((each) => each.type === type);
}

function compactPod(pod: AgentPod): AgentPod {
  const { name, namespace, uid, resourceVersion } = pod.metadata;
  const { spec, status } = pod as WirePod;
  return {
    apiVersion: pod.apiVersion,
    kind: pod.kind,
    metadata: { name, namespace, uid, resourceVersion },
    node: spec?.nodeName ?? "",
    isReady: status?.containerStatuses?.find((each) => each.name === agentContainer)?.ready === true,
  };
}
