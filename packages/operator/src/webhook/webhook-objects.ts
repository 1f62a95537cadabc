import type { DefinedKind } from "@bpfleet/kinds";
import type { Manifest } from "../desired/manifest.ts";
import { madeByOperator, operatorLabels, ownNamespace, ports, webhookName } from "../desired/names.ts";

/** Where API servers find the webhook: through its Service, or for tests at a URL. */
export type WebhookPlace = { readonly service: typeof webhookName } | { readonly url: string };

export const webhookPath = "/validate";
const timeoutSeconds = 5;

/** Names that the webhook's certificate is for. */
export const webhookHosts: readonly string[] = [
  `${webhookName}.${ownNamespace}.svc`,
  `${webhookName}.${ownNamespace}.svc.cluster.local`,
];

/** Kinds that only our own processes write, and often: nobody needs to be told anything. */
const ownWriting = new Set(["NodeState", "AddressSlice"]);

/** Kinds that the webhook judges; those of others' agents only where these agents are not. */
export function judgedKinds(
  kinds: readonly DefinedKind[],
  foreignGroups: readonly string[] = [],
): readonly DefinedKind[] {
  return kinds.filter(({ kind, group }) => group !== "" && !ownWriting.has(kind) && !foreignGroups.includes(group));
}

/**
 * Asks the webhook about new and changed declarations, and about nothing else: no status, no scale, no deletion. When
 * it does not answer, objects are admitted: the agents judge them too.
 */
export function webhookConfiguration(
  kinds: readonly DefinedKind[],
  caBundle: string,
  place: WebhookPlace = { service: webhookName },
): Manifest {
  const groups = Map.groupBy(kinds, ({ group, version }) => `${group}/${version}`);
  const clientConfig =
    "url" in place
      ? { url: place.url }
      : { service: { name: place.service, namespace: ownNamespace, path: webhookPath, port: 443 } };
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: webhookName, labels: madeByOperator },
    webhooks: [
      {
        name: "validate.bpfleet.io",
        admissionReviewVersions: ["v1"],
        clientConfig: { ...clientConfig, caBundle: Buffer.from(caBundle).toString("base64") },
        failurePolicy: "Ignore",
        matchPolicy: "Equivalent",
        sideEffects: "None",
        timeoutSeconds,
        rules: [...groups.values()].map((members) => ({
          apiGroups: [members[0]?.group ?? ""],
          apiVersions: [members[0]?.version ?? ""],
          operations: ["CREATE", "UPDATE"],
          resources: members.map(({ plural }) => plural).toSorted(),
          scope: "*",
        })),
      },
    ],
  };
}

/** Brings calls of API servers to the operator's pods. */
export function webhookService(): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: webhookName, namespace: ownNamespace, labels: madeByOperator },
    spec: {
      type: "ClusterIP",
      selector: operatorLabels,
      ports: [{ name: "webhook", port: 443, protocol: "TCP", targetPort: ports.webhook }],
    },
  };
}
