import type { Issue } from "@bpfleet/base";
import type { DefinedKind } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { cleanupDaemonSet } from "../desired/daemon-set.ts";
import type { Manifest } from "../desired/manifest.ts";
import { nodeObjects } from "../desired/node-objects.ts";
import { agentIdentity } from "../desired/roles.ts";
import { parseSettings, usualSettings, type DefaultImages, type Enforcement } from "../desired/settings.ts";
import { judgedKinds, webhookConfiguration, webhookService } from "../webhook/webhook-objects.ts";
import { parseUndeploy } from "./undeploy.ts";

/** What is known of the cluster, for the decision what is to run on its nodes. */
export interface FleetSight {
  readonly kinds: readonly DefinedKind[];
  readonly images: DefaultImages;
  /** `bpfd-config` of kube-system, else of bpfd. */
  readonly configMap: AnyObject | undefined;
  readonly ciliumRuns: boolean;
  readonly calicoRuns: boolean;
  /** What API servers are to trust of the webhook; without it there is none. */
  readonly webhookBundle: string | undefined;
}

export type FleetPlan =
  /** Without a ConfigMap there is no DaemonSet, as with bpfd; what is in force on the nodes stays so. */
  | { readonly do: "remove-daemon-set" }
  /** Nothing is changed until it can be read. */
  | { readonly do: "keep"; readonly issues: readonly Issue[] }
  | {
      readonly do: "run";
      readonly objects: readonly Manifest[];
      readonly issues: readonly Issue[];
      readonly follows: Follows;
    }
  | { readonly do: "undeploy"; readonly objects: readonly Manifest[]; readonly patienceMs: number }
  /** Everything was removed; nothing is made until the annotation goes. */
  | { readonly do: "nothing"; readonly report: string };

export interface Follows {
  readonly cilium: boolean;
  readonly calico: boolean;
}

export function planFleet(sight: FleetSight): FleetPlan {
  const { configMap, images, kinds } = sight;
  if (configMap === undefined) return { do: "remove-daemon-set" };
  const undeploy = parseUndeploy(configMap);
  if (undeploy?.report !== undefined) return { do: "nothing", report: undeploy.report };
  const parsed = parseSettings(dataOf(configMap), images);
  if (undeploy !== undefined) {
    const settings = parsed.ok ? parsed.value : usualSettings(images);
    return { do: "undeploy", objects: [cleanupDaemonSet(settings)], patienceMs: undeploy.patienceMs };
  }
  if (!parsed.ok) return { do: "keep", issues: parsed.issues };
  const follows = {
    cilium: isFollowed(parsed.value.enforceCilium, sight.ciliumRuns),
    calico: isFollowed(parsed.value.enforceCalico, sight.calicoRuns),
  };
  const setup = { settings: parsed.value, followsCilium: follows.cilium, followsCalico: follows.calico };
  const foreign = [...(follows.cilium ? [] : ["cilium.io"]), ...(follows.calico ? [] : ["crd.projectcalico.org"])];
  const webhook =
    sight.webhookBundle === undefined
      ? []
      : [webhookService(), webhookConfiguration(judgedKinds(kinds, foreign), sight.webhookBundle)];
  const objects = [...agentIdentity(kinds), ...nodeObjects(setup), ...webhook];
  return { do: "run", objects, issues: parsed.issues, follows };
}

function isFollowed(enforcement: Enforcement, makersAgentRuns: boolean): boolean {
  return enforcement === "always" || (enforcement === "auto" && !makersAgentRuns);
}

function dataOf(configMap: AnyObject): Readonly<Record<string, string>> {
  const data = configMap["data"];
  if (typeof data !== "object" || data === null) return {};
  return Object.fromEntries(
    Object.entries(data).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
