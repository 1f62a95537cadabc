import { renderRef, type Issue } from "@bpfleet/base";
import type { DefinedKind, FleetOutcome } from "@bpfleet/kinds";
import { awaitChange, isRefusal, recheckAfter, type AnyObject, type Outcome } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import {
  annotations,
  bpfdNamespace,
  configMapName,
  daemonSetName,
  nodeConfigMapName,
  ownNamespace,
  undeployManager,
} from "../desired/names.ts";
import { partingDaemonSet } from "../desired/parting-set.ts";
import { nodeObjects } from "../desired/node-objects.ts";
import { agentIdentity } from "../desired/roles.ts";
import { usualSettings, type DefaultImages } from "../desired/settings.ts";
import { idOf, KeptObjects } from "../reconcile/kept-objects.ts";
import { resourceOf, resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { webhookConfiguration, webhookService } from "../webhook/webhook-objects.ts";
import { followsOf, planFleet, type FleetPlan, type Follows } from "./fleet-plan.ts";
import { readLastGood, type LastGood } from "./last-good.ts";
import { renderUndeployed, rolloutOf, uncleanNodes } from "./undeploy.ts";

export interface FleetKeeperOptions {
  readonly client: KubeClient;
  readonly kinds: readonly DefinedKind[];
  readonly images: DefaultImages;
  readonly teller: Teller;
  readonly timing: Timing;
  readonly activity: Activity;
  /** What API servers are to trust of the webhook; without it there is none. */
  readonly webhookBundle: () => string | undefined;
  /** Others' kinds are followed from now on, or no longer. */
  readonly onFollows: () => void;
  /** Says what is true of what people declared, and removes what else there is of ours in the cluster. */
  readonly removeRest: (signal: AbortSignal, end: NonNullable<FleetOutcome["undeployed"]>) => Promise<void>;
}

const planKey = "plan";
const daemonSetId = idOf(resources.daemonSets, { namespace: ownNamespace, name: daemonSetName });
const nodeConfigMapId = idOf(resources.configMaps, { namespace: ownNamespace, name: nodeConfigMapName });
const undeployPollMs = 1000;
/** What was refused is asked for again at least so often: who refuses need not be the ConfigMap. */
const longestWaitMs = 60_000;
/** Nodes that are gone do not keep the set for ever. */
const partingPatienceMs = 300_000;

/** Keeps what runs on the nodes as the ConfigMap says. */
export class FleetKeeper implements Part {
  readonly name = "fleet";
  readonly #options: FleetKeeperOptions;
  readonly #kept: KeptObjects;
  readonly #config: readonly Informer<AnyObject>[];
  readonly #cilium: Informer<AnyObject>;
  readonly #calico: Informer<AnyObject>;
  readonly #work: LeadingController;
  #undeployingSince: number | undefined;
  /** The set that is to go. */
  #parting: { readonly uid: string | undefined; readonly sinceMs: number } | undefined;
  /** Objects that the API server refuses as they are wanted. */
  readonly #refused = new Set<string>();
  /** Version of the ConfigMap that the report of the end of undeploying replaced. */
  #reportedOver: string | undefined;
  #follows: Follows | undefined;
  /** Read when we begin to lead, and then our own: edits of it are undone as others are. */
  #lastGood: LastGood | undefined;

  constructor(options: FleetKeeperOptions) {
    this.#options = options;
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      queue: { longestWaitMs },
      reconcile: (key, stop) => (key === planKey ? this.#follow(stop) : this.#keep(key, stop)),
    });
    const { client, kinds, images, teller } = options;
    const follow = (
      resource: Parameters<typeof createInformer>[1]["resource"],
      fieldSelector?: string,
    ): Informer<AnyObject> => {
      const informer = createInformer<AnyObject>(client, {
        resource,
        fieldSelector,
        onFault: (error) => teller.fault(error),
      });
      informer.onChange(() => this.#work.add(planKey));
      return informer.start();
    };
    this.#config = [ownNamespace, bpfdNamespace].map((namespace) =>
      follow({ ...resources.configMaps, namespace, name: configMapName }),
    );
    this.#cilium = follow(resources.daemonSets, "metadata.name=cilium");
    this.#calico = follow(resources.daemonSets, "metadata.name=calico-node");
    this.#kept = new KeptObjects({
      client,
      onChange: (id) => this.#work.add(id),
      onWrite: ({ verb, id, because, live }) => {
        teller.wrote(verb, id, because);
        if (live !== undefined && because !== "it was not looked at yet")
          teller.happened(live, {
            type: "Normal",
            reason: "Reconciled",
            action: "Reconcile",
            note: `${verb}: ${because}`,
          });
      },
      onFault: (error) => teller.fault(error),
    });
    const setup = { settings: usualSettings(images), followsCilium: true, followsCalico: true };
    const webhook = [webhookService(), webhookConfiguration(kinds, "")];
    for (const object of [...agentIdentity(kinds), ...nodeObjects(setup), ...webhook])
      this.#kept.follow(resourceOf(object), object.metadata);
  }

  /** Whose kinds the nodes follow, as they were last told; `undefined` until they were. */
  get follows(): Follows | undefined {
    return this.#follows;
  }

  /** The DaemonSet that is there. */
  get daemonSet(): AnyObject | undefined {
    return this.#kept.find(daemonSetId);
  }

  /** Objects that the API server refuses as they are wanted: they stay as they are. */
  get refused(): number {
    return this.#refused.size;
  }

  /** The webhook's certificate came or changed. */
  look(): void {
    this.#work.add(planKey);
  }

  async lead(signal: AbortSignal): Promise<void> {
    const informers = [...this.#config, this.#cilium, this.#calico];
    await Promise.all([...informers.map((informer) => informer.synced(signal)), this.#kept.synced(signal)]);
    this.#kept.forget();
    this.#undeployingSince = undefined;
    this.#parting = undefined;
    this.#refused.clear();
    this.#lastGood = readLastGood(this.#kept.find(nodeConfigMapId));
    this.#options.activity.forget();
    await this.#work.lead(signal, () => this.#work.add(planKey));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const informers = [...this.#config, this.#cilium, this.#calico];
    await Promise.all([...informers.map((informer) => informer.stop()), this.#kept[Symbol.asyncDispose]()]);
  }

  #configMap(): AnyObject | undefined {
    return this.#config.flatMap((informer) => informer.list())[0];
  }

  #plan(): FleetPlan {
    const { kinds, images, webhookBundle } = this.#options;
    return planFleet({
      kinds,
      images,
      webhookBundle: webhookBundle(),
      configMap: this.#configMap(),
      ciliumRuns: this.#cilium.size > 0,
      calicoRuns: this.#calico.size > 0,
      followed: followsOf(this.#kept.find(daemonSetId)),
      lastGood: this.#lastGood,
    });
  }

  #want({ objects, follows }: Extract<FleetPlan, { readonly follows: Follows }>): void {
    for (const object of objects) this.#kept.want(idOf(resourceOf(object), object.metadata), object);
    const isSame = this.#follows?.cilium === follows.cilium && this.#follows.calico === follows.calico;
    this.#follows = follows;
    if (!isSame) this.#options.onFollows();
  }

  #tellOfConfig(type: "Normal" | "Warning", reason: string, issues: readonly Issue[]): void {
    const configMap = this.#configMap();
    if (configMap === undefined || issues.length === 0) return;
    const note = issues.map(({ message }) => message).join("; ");
    this.#options.teller.happened(configMap, { type, reason, action: "Configure", note });
  }

  async #keep(id: string, signal: AbortSignal): Promise<Outcome> {
    const because = await this.#try(id, () => this.#kept.keep(id, signal));
    if (because === undefined) return awaitChange;
    const live = this.#kept.find(id);
    if (id === daemonSetId && live !== undefined && !(await this.#isParted(live, because, signal)))
      return recheckAfter(undeployPollMs);
    await this.#kept.giveWay(id, because, signal);
    return awaitChange;
  }

  /** Whatever the API server refuses is told where people look who changed something; it is thrown all the same. */
  async #try<T>(id: string, work: () => Promise<T>): Promise<T> {
    try {
      const done = await work();
      this.#refused.delete(id);
      return done;
    } catch (error) {
      if (isRefusal(error)) this.#tellRefused(id, error);
      throw error;
    }
  }

  #tellRefused(id: string, { message }: Error): void {
    this.#refused.add(id);
    const configMap = this.#configMap();
    if (configMap === undefined) return;
    const stays = this.#kept.find(id) === undefined ? "is not there" : "stays as it was";
    const note = `${id} ${stays}: ${message}; correct what ConfigMap ${configMapName} asks for, or the policy or webhook that refuses it; it is tried again`;
    this.#options.teller.happened(configMap, { type: "Warning", reason: "Refused", action: "Configure", note });
  }

  async #follow(signal: AbortSignal): Promise<Outcome> {
    const plan = this.#plan();
    const { teller, activity } = this.#options;
    activity.decide(plan.do !== "undeploy" && plan.do !== "nothing");
    if (plan.do !== "undeploy") this.#undeployingSince = undefined;
    if (plan.do !== "remove-daemon-set") this.#parting = undefined;
    switch (plan.do) {
      case "remove-daemon-set":
        this.#want(plan);
        return this.#part(signal);
      case "keep":
        this.#want(plan);
        this.#tellOfConfig("Warning", "Invalid", plan.issues);
        for (const { message } of plan.issues)
          teller.note(`ConfigMap ${configMapName}: ${message}; nothing is changed until it is corrected`);
        return awaitChange;
      case "run":
        this.#lastGood = plan.made;
        this.#tellOfConfig("Warning", "Ignored", plan.issues);
        this.#want(plan);
        for (const { message } of plan.issues) teller.note(`ConfigMap ${configMapName}: ${message}`);
        return awaitChange;
      case "undeploy":
        if (this.#configMap()?.metadata.resourceVersion === this.#reportedOver) return awaitChange;
        return this.#undeploy(plan, signal);
      case "nothing":
        for (const id of this.#kept.ids) this.#kept.want(id, undefined);
        this.#refused.clear();
        teller.note(
          `undeployed: ${plan.report}; remove the annotation ${annotations.undeploy} from ConfigMap ${configMapName} to begin anew`,
        );
        return awaitChange;
    }
  }

  /** Without a ConfigMap. */
  async #part(signal: AbortSignal): Promise<Outcome> {
    const why = `there is no ConfigMap ${configMapName} in ${ownNamespace} or ${bpfdNamespace}`;
    this.#kept.want(daemonSetId, undefined);
    const found = this.#kept.find(daemonSetId);
    const live = found?.metadata.deletionTimestamp === undefined ? found : undefined;
    if (live !== undefined && !(await this.#isParted(live, why, signal))) return recheckAfter(undeployPollMs);
    this.#options.teller.note(
      `${why}, so there is no DaemonSet; what is in force on the nodes stays in force, and pods that start are judged by nobody`,
    );
    await this.#kept.remove(daemonSetId, why, signal);
    return awaitChange;
  }

  /** Before the set goes, its pods give way to some that take out what would wait for its daemons. Says whether they did. */
  async #isParted(live: AnyObject, because: string, signal: AbortSignal): Promise<boolean> {
    const { teller, timing } = this.#options;
    const parting = partingDaemonSet(live);
    if (parting === undefined) return true;
    const now = timing.monotonicMs();
    const { uid } = live.metadata;
    const sinceMs = this.#parting?.uid === uid ? (this.#parting?.sinceMs ?? now) : now;
    this.#parting = { uid, sinceMs };
    const isPut = podAnnotation(live, annotations.parting) === "true";
    try {
      if (!isPut) await this.#kept.replace(daemonSetId, parting, because, signal);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      teller.failed(this.name, { key: daemonSetId, error });
    }
    const rollout = rolloutOf(live);
    if (isPut && rollout.isDone) return true;
    if (now - sinceMs < partingPatienceMs) return false;
    teller.note(
      `${isPut ? rollout.ready : 0} of ${rollout.wanted} nodes have taken bpfleet-cni out of their network configuration; on the others pods that policies select do not start: run \`bpfleet-cni uninstall\` there`,
    );
    return true;
  }

  /** Every pod of the set is replaced by one that cleans its node; those that do not come are waited for so long. */
  async #undeploy(plan: Extract<FleetPlan, { do: "undeploy" }>, signal: AbortSignal): Promise<Outcome> {
    const { client, teller, timing, removeRest } = this.#options;
    const now = timing.monotonicMs();
    this.#undeployingSince ??= now;
    for (const object of plan.objects) this.#kept.want(idOf(resourceOf(object), object.metadata), object);
    try {
      const because = await this.#try(daemonSetId, () => this.#kept.keep(daemonSetId, signal));
      if (because !== undefined) await this.#kept.giveWay(daemonSetId, because, signal);
    } catch (error) {
      // Nodes that are not cleaned are waited for no longer than others.
      if (!isRefusal(error)) throw error;
      teller.failed(this.name, { key: daemonSetId, error });
    }
    const set = this.#kept.find(daemonSetId);
    const isOurs = podAnnotation(set, annotations.undeploy) === "true";
    const rollout = set === undefined || !isOurs ? { wanted: 0, ready: 0, isDone: false } : rolloutOf(set);
    if (!rollout.isDone && now - this.#undeployingSince < plan.patienceMs) return recheckAfter(undeployPollMs);
    const pods = await client.list<AnyObject>(
      { ...resources.pods, namespace: ownNamespace },
      { labelSelector: `name=${daemonSetName}`, signal },
    );
    const report = renderUndeployed(rollout, uncleanNodes(pods.items));
    await this.#kept.remove(daemonSetId, report, signal);
    await removeRest(signal, { isClean: rollout.isDone, report });
    // Roles and the account came with the manifests and go with them.
    for (const id of this.#kept.ids.filter((each) => !/^(?:clusterrole|serviceaccount)/.test(each)))
      await this.#kept.remove(id, "the fleet is undeployed", signal);
    const configMap = this.#configMap();
    if (configMap !== undefined) {
      const { namespace, name, uid, resourceVersion } = configMap.metadata;
      const metadata = { name, namespace, uid, annotations: { [annotations.undeployed]: report } };
      const answer = { apiVersion: "v1", kind: "ConfigMap", metadata };
      const how = { fieldManager: undeployManager, isForced: true, signal };
      await client.apply<AnyObject>(resources.configMaps, answer, how);
      // Until the watch tells of it, the one that we see asks for the same once more.
      this.#reportedOver = resourceVersion;
      const type = rollout.isDone ? "Normal" : "Warning";
      teller.happened(configMap, { type, reason: "Undeployed", action: "Undeploy", note: report });
      teller.wrote("patch", renderRef({ group: "", kind: "ConfigMap", namespace: namespace ?? "", name }), report);
    }
    return awaitChange;
  }
}

function podAnnotation(set: AnyObject | undefined, name: string): string | undefined {
  const typed = set as
    | {
        readonly spec?: {
          readonly template?: { readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> } };
        };
      }
    | undefined;
  return typed?.spec?.template?.metadata?.annotations?.[name];
}
