import type { Issue } from "@bpfleet/base";
import type { DefinedKind } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { cleanupDaemonSet, followVariables } from "../desired/daemon-set.ts";
import type { Manifest } from "../desired/manifest.ts";
import { nodeObjects } from "../desired/node-objects.ts";
import { agentIdentity } from "../desired/roles.ts";
import {
  parseSettings,
  usualSettings,
  type DefaultImages,
  type Enforcement,
  type Settings,
} from "../desired/settings.ts";
import { judgedKinds, webhookConfiguration, webhookService } from "../webhook/webhook-objects.ts";
import { dataOf, lastGoodData, type LastGood } from "./last-good.ts";
import { parseUndeploy } from "./undeploy.ts";

/** What is known of the cluster, for the decision what is to run on its nodes. */
export interface FleetSight {
  readonly kinds: readonly DefinedKind[];
  readonly images: DefaultImages;
  /** `bpfd-config` of kube-system, else of bpfd. */
  readonly configMap: AnyObject | undefined;
  readonly ciliumRuns: boolean;
  readonly calicoRuns: boolean;
  /** Whose kinds the agents follow by the DaemonSet that is there. */
  readonly followed: Follows | undefined;
  readonly lastGood: LastGood | undefined;
  /** What API servers are to trust of the webhook; without it there is none. */
  readonly webhookBundle: string | undefined;
}

export type FleetPlan =
  /** Without a ConfigMap there is no DaemonSet, as with bpfd; what is in force on the nodes stays so. */
  | ({ readonly do: "remove-daemon-set" } & Wanted)
  /** Nothing that a setting decides is changed until it can be read; where it could be once, that is kept. */
  | ({ readonly do: "keep"; readonly issues: readonly Issue[] } & Wanted)
  | ({ readonly do: "run"; readonly issues: readonly Issue[]; readonly made: LastGood } & Wanted)
  | { readonly do: "undeploy"; readonly objects: readonly Manifest[]; readonly patienceMs: number }
  /** Everything was removed; nothing is made until the annotation goes. */
  | { readonly do: "nothing"; readonly report: string };

interface Wanted {
  readonly objects: readonly Manifest[];
  readonly follows: Follows;
}

export interface Follows {
  readonly cilium: boolean;
  readonly calico: boolean;
}

export function planFleet(sight: FleetSight): FleetPlan {
  const { configMap, images } = sight;
  const usual = followsBy(usualSettings(images), sight);
  if (configMap === undefined)
    return { do: "remove-daemon-set", objects: settledObjects(sight, usual), follows: usual };
  const undeploy = parseUndeploy(configMap);
  if (undeploy?.report !== undefined) return { do: "nothing", report: undeploy.report };
  const parsed = parseSettings(dataOf(configMap), images);
  const last = parsed.ok ? undefined : lastSettings(sight, configMap);
  if (undeploy !== undefined) {
    const settings = parsed.ok ? parsed.value : (last?.settings ?? usualSettings(images));
    return { do: "undeploy", objects: [cleanupDaemonSet(settings)], patienceMs: undeploy.patienceMs };
  }
  if (!parsed.ok) {
    const follows = last?.made.follows ?? sight.followed ?? usual;
    const objects = last === undefined ? settledObjects(sight, follows) : allObjects(sight, last.settings, last.made);
    return { do: "keep", objects, issues: parsed.issues, follows };
  }
  const follows = followsBy(parsed.value, sight);
  const made = { of: configMap.metadata.uid ?? "", data: dataOf(configMap), follows };
  return { do: "run", objects: allObjects(sight, parsed.value, made), issues: parsed.issues, follows, made };
}

/** What this very ConfigMap said when it could be read. */
function lastSettings(
  { lastGood: made, images }: FleetSight,
  { metadata }: AnyObject,
): { readonly settings: Settings; readonly made: LastGood } | undefined {
  if (made === undefined || made.of !== metadata.uid) return undefined;
  const parsed = parseSettings(made.data, images);
  return parsed.ok ? { settings: parsed.value, made } : undefined;
}

function allObjects(sight: FleetSight, settings: Settings, made: LastGood): readonly Manifest[] {
  const { cilium, calico } = made.follows;
  const setup = { settings, followsCilium: cilium, followsCalico: calico };
  const node = nodeObjects(setup, lastGoodData(made));
  return [...agentIdentity(sight.kinds), ...node, ...webhookObjects(sight, made.follows)];
}

/** What no setting decides: with no ConfigMap or a wrong one it is kept all the same. */
function settledObjects(sight: FleetSight, follows: Follows): readonly Manifest[] {
  return [...agentIdentity(sight.kinds), ...webhookObjects(sight, follows)];
}

function webhookObjects({ kinds, webhookBundle }: FleetSight, follows: Follows): readonly Manifest[] {
  if (webhookBundle === undefined) return [];
  const foreign = [...(follows.cilium ? [] : ["cilium.io"]), ...(follows.calico ? [] : ["crd.projectcalico.org"])];
  return [webhookService(), webhookConfiguration(judgedKinds(kinds, foreign), webhookBundle)];
}

/** Whose kinds the agents of a DaemonSet follow; `undefined` where it does not say. */
export function followsOf(set: AnyObject | undefined): Follows | undefined {
  const { template } = (set?.["spec"] ?? {}) as PodOwner;
  const told = new Map(
    template?.spec?.containers?.flatMap(({ env = [] }) => env.map(({ name, value }) => [name, value] as const)),
  );
  const [cilium, calico] = [told.get(followVariables.cilium), told.get(followVariables.calico)];
  return cilium === undefined || calico === undefined
    ? undefined
    : { cilium: cilium === "true", calico: calico === "true" };
}

interface PodOwner {
  readonly template?: {
    readonly spec?: {
      readonly containers?: readonly { readonly env?: readonly { readonly name: string; readonly value?: string }[] }[];
    };
  };
}

function followsBy(settings: Settings, { ciliumRuns, calicoRuns }: FleetSight): Follows {
  return {
    cilium: isFollowed(settings.enforceCilium, ciliumRuns),
    calico: isFollowed(settings.enforceCalico, calicoRuns),
  };
}

function isFollowed(enforcement: Enforcement, makersAgentRuns: boolean): boolean {
  return enforcement === "always" || (enforcement === "auto" && !makersAgentRuns);
}
