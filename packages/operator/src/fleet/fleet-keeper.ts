import { renderRef, type Issue } from "@bpfleet/base";
import type { DefinedKind } from "@bpfleet/kinds";
import { awaitChange, recheckAfter, type AnyObject, type Outcome } from "@bpfleet/kube";
import {
  createController,
  createInformer,
  type Controller,
  type Informer,
  type KubeClient,
  type Timing,
} from "@bpfleet/kube-client";
import {
  annotations,
  bpfdNamespace,
  configMapName,
  daemonSetName,
  fieldManager,
  ownNamespace,
} from "../desired/names.ts";
import { partingDaemonSet } from "../desired/parting-set.ts";
import { nodeObjects } from "../desired/node-objects.ts";
import { agentClusterRole } from "../desired/roles.ts";
import { parseSettings, type DefaultImages } from "../desired/settings.ts";
import { idOf, KeptObjects } from "../reconcile/kept-objects.ts";
import { resourceOf, resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { runWhileLeading, type Part, type Teller } from "../run/part.ts";
import { webhookConfiguration, webhookService } from "../webhook/webhook-objects.ts";
import { planFleet, type FleetPlan, type Follows } from "./fleet-plan.ts";
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
  /** Removes what else there is of ours in the cluster, when every node is clean. */
  readonly removeRest: (signal: AbortSignal) => Promise<void>;
}

const planKey = "plan";
const daemonSetId = idOf(resources.daemonSets, { namespace: ownNamespace, name: daemonSetName });
const undeployPollMs = 1000;
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
  #controller: Controller | undefined;
  #undeployingSince: number | undefined;
  #partingSince: number | undefined;
  /** Version of the ConfigMap that the report of the end of undeploying replaced. */
  #reportedOver: string | undefined;
  #follows: Follows | undefined;

  constructor(options: FleetKeeperOptions) {
    this.#options = options;
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
      informer.onChange(() => this.#controller?.add(planKey));
      return informer.start();
    };
    this.#config = [ownNamespace, bpfdNamespace].map((namespace) =>
      follow({ ...resources.configMaps, namespace, name: configMapName }),
    );
    this.#cilium = follow(resources.daemonSets, "metadata.name=cilium");
    this.#calico = follow(resources.daemonSets, "metadata.name=calico-node");
    this.#kept = new KeptObjects({
      client,
      onChange: (id) => this.#controller?.add(id),
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
    const usual = parseSettings({}, images);
    if (!usual.ok) throw new TypeError("read the usual settings: they are refused");
    const setup = { settings: usual.value, followsCilium: true, followsCalico: true };
    const webhook = [webhookService(), webhookConfiguration(kinds, "")];
    for (const object of [...agentClusterRole(kinds), ...nodeObjects(setup), ...webhook])
      this.#kept.follow(resourceOf(object), object.metadata);
  }

  /** Whose kinds the nodes follow, as they were last told; `undefined` until they were. */
  get follows(): Follows | undefined {
    return this.#follows;
  }

  /** The webhook's certificate came or changed. */
  look(): void {
    this.#controller?.add(planKey);
  }

  async lead(signal: AbortSignal): Promise<void> {
    const informers = [...this.#config, this.#cilium, this.#calico];
    await Promise.all([...informers.map((informer) => informer.synced(signal)), this.#kept.synced(signal)]);
    this.#kept.forget();
    this.#undeployingSince = undefined;
    this.#partingSince = undefined;
    this.#options.activity.forget();
    const { teller, timing } = this.#options;
    this.#controller = createController({
      name: this.name,
      timing,
      reconcile: (key, stop) => (key === planKey ? this.#follow(stop) : this.#keep(key, stop)),
      onFailure: (failure) => teller.failed(this.name, failure),
    });
    this.#controller.add(planKey);
    try {
      await runWhileLeading(this.#controller, signal);
    } finally {
      this.#controller = undefined;
    }
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
    });
  }

  #tellFollows(follows: Follows): void {
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
    await this.#kept.keep(id, signal);
    return awaitChange;
  }

  async #follow(signal: AbortSignal): Promise<Outcome> {
    const plan = this.#plan();
    const { teller, activity } = this.#options;
    activity.decide(plan.do !== "undeploy" && plan.do !== "nothing");
    if (plan.do !== "undeploy") this.#undeployingSince = undefined;
    if (plan.do !== "remove-daemon-set") this.#partingSince = undefined;
    switch (plan.do) {
      case "remove-daemon-set":
        return this.#part(signal);
      case "keep":
        this.#tellOfConfig("Warning", "Invalid", plan.issues);
        for (const { message } of plan.issues)
          teller.note(`ConfigMap ${configMapName}: ${message}; nothing is changed until it is corrected`);
        return awaitChange;
      case "run":
        this.#tellOfConfig("Warning", "Ignored", plan.issues);
        this.#tellFollows(plan.follows);
        for (const { message } of plan.issues) teller.note(`ConfigMap ${configMapName}: ${message}`);
        for (const object of plan.objects) this.#kept.want(idOf(resourceOf(object), object.metadata), object);
        return awaitChange;
      case "undeploy":
        if (this.#configMap()?.metadata.resourceVersion === this.#reportedOver) return awaitChange;
        return this.#undeploy(plan, signal);
      case "nothing":
        for (const id of this.#kept.ids) this.#kept.want(id, undefined);
        teller.note(
          `undeployed: ${plan.report}; remove the annotation ${annotations.undeploy} from ConfigMap ${configMapName} to begin anew`,
        );
        return awaitChange;
    }
  }

  /** Before the set goes, its pods give way to some that take out what would wait for its daemons. */
  async #part(signal: AbortSignal): Promise<Outcome> {
    const { teller, timing } = this.#options;
    const why = `there is no ConfigMap ${configMapName} in ${ownNamespace} or ${bpfdNamespace}, so there is no DaemonSet`;
    const found = this.#kept.find(daemonSetId);
    const live = found?.metadata.deletionTimestamp === undefined ? found : undefined;
    const parting = live && partingDaemonSet(live);
    if (live !== undefined && parting !== undefined) {
      const now = timing.monotonicMs();
      this.#partingSince ??= now;
      this.#kept.want(daemonSetId, parting);
      await this.#kept.keep(daemonSetId, signal);
      const set = this.#kept.find(daemonSetId);
      const rollout = rolloutOf(set ?? live);
      const isDone = podAnnotation(set, annotations.parting) === "true" && rollout.isDone;
      if (!isDone && now - this.#partingSince < partingPatienceMs) return recheckAfter(undeployPollMs);
      if (!isDone)
        teller.note(
          `${rollout.ready} of ${rollout.wanted} nodes have taken bpfleet-cni out of their network configuration; on the others pods that policies select do not start: run \`bpfleet-cni uninstall\` there`,
        );
    }
    teller.note(`${why}; what is in force on the nodes stays in force, and pods that start are judged by nobody`);
    await this.#kept.remove(daemonSetId, `there is no ConfigMap ${configMapName}`, signal);
    return awaitChange;
  }

  /** Every pod of the set is replaced by one that cleans its node; those that do not come are waited for so long. */
  async #undeploy(plan: Extract<FleetPlan, { do: "undeploy" }>, signal: AbortSignal): Promise<Outcome> {
    const { client, teller, timing, removeRest } = this.#options;
    const now = timing.monotonicMs();
    this.#undeployingSince ??= now;
    for (const object of plan.objects) this.#kept.want(idOf(resourceOf(object), object.metadata), object);
    await this.#kept.keep(daemonSetId, signal);
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
    await removeRest(signal);
    // Roles came with the manifests and go with them.
    for (const id of this.#kept.ids.filter((each) => !each.startsWith("clusterrole")))
      await this.#kept.remove(id, "the fleet is undeployed", signal);
    const configMap = this.#configMap();
    if (configMap !== undefined) {
      const { namespace, name, resourceVersion } = configMap.metadata;
      const patch = { metadata: { annotations: { [annotations.undeployed]: report } } };
      await client.patch({ ...resources.configMaps, namespace, name }, patch, { type: "merge", fieldManager, signal });
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
