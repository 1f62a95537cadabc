import type { AnyObject } from "@bpfleet/kube";
import { locked, setOf, small } from "./daemon-set.ts";
import type { Manifest } from "./manifest.ts";
import { optional } from "./manifest.ts";
import { annotations, plainUser } from "./names.ts";

/**
 * The set in place of one that is to go: its pods take the CNI plug-in out of the network configuration and stand Ready. Nobody
 * would answer the plug-in any more, and pods that policies select would never start again. All that it is made of is
 * taken from the set that is there: the settings are gone. `undefined` where nothing is to be taken out.
 */
export function partingDaemonSet(live: AnyObject): Manifest | undefined {
  const { metadata, spec = {} } = (live as LiveSet).spec?.template ?? {};
  if (metadata?.annotations?.[annotations.undeploy] !== undefined) return undefined;
  const isParting = metadata?.annotations?.[annotations.parting] !== undefined;
  const among = isParting ? spec.initContainers : spec.containers;
  const cni = among?.find(({ name }) => name === "cni");
  if (cni === undefined) return undefined;
  const { image, imagePullPolicy, command, args = [], securityContext, volumeMounts = [], resources } = cni;
  const places = ["--conf-dir", "--bin-dir"].flatMap((flag) => {
    const at = args.indexOf(flag);
    return at === -1 ? [] : [flag, args[at + 1] ?? ""];
  });
  const pulled = { image, ...optional("imagePullPolicy", imagePullPolicy) };
  const used = new Set(volumeMounts.map(({ name }) => name));
  const parting = setOf(
    { [annotations.parting]: "true" },
    {
      automountServiceAccountToken: false,
      priorityClassName: "system-node-critical",
      terminationGracePeriodSeconds: 10,
      ...optional("nodeSelector", spec.nodeSelector),
      ...optional("tolerations", spec.tolerations),
      ...optional("imagePullSecrets", spec.imagePullSecrets),
      initContainers: [
        {
          name: "cni",
          ...pulled,
          command,
          // Runtimes may ask it when pods end that began with it.
          args: ["uninstall", "--keep-binary", ...places],
          securityContext,
          volumeMounts,
          resources,
        },
      ],
      containers: [
        {
          name: "parted",
          ...pulled,
          command: ["/usr/bin/ebpfctl", "sleep"],
          securityContext: { ...locked, runAsNonRoot: true, runAsUser: plainUser },
          resources: small,
        },
      ],
      volumes: spec.volumes?.filter(({ name }) => used.has(name)),
    },
    "100%",
  );
  return withSelectorOf(live as LiveSet, parting);
}

/** It never changes, also where it is not the one that we would choose; pods must have the labels that it asks for. */
function withSelectorOf(live: LiveSet, parting: Manifest): Manifest {
  const { selector, template } = live.spec ?? {};
  if (selector === undefined) return parting;
  const spec = parting["spec"] as { readonly template: { readonly metadata: { readonly labels: object } } };
  const labels = { ...spec.template.metadata.labels, ...template?.metadata?.labels };
  const { metadata } = spec.template;
  return { ...parting, spec: { ...spec, selector, template: { ...spec.template, metadata: { ...metadata, labels } } } };
}

interface LiveSet {
  readonly spec?: {
    readonly selector?: object;
    readonly template?: {
      readonly metadata?: {
        readonly annotations?: Readonly<Record<string, string>>;
        readonly labels?: Readonly<Record<string, string>>;
      };
      readonly spec?: {
        readonly containers?: readonly LiveContainer[];
        readonly initContainers?: readonly LiveContainer[];
        readonly volumes?: readonly { readonly name: string }[];
        readonly nodeSelector?: object;
        readonly tolerations?: readonly object[];
        readonly imagePullSecrets?: readonly object[];
      };
    };
  };
}

interface LiveContainer {
  readonly name: string;
  readonly image?: string;
  readonly imagePullPolicy?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly securityContext?: object;
  readonly volumeMounts?: readonly { readonly name: string }[];
  readonly resources?: object;
}
