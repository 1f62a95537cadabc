import assert from "node:assert/strict";
import { test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import { judgedKinds, webhookConfiguration, webhookService } from "./webhook-objects.ts";

interface Configuration {
  readonly webhooks: readonly {
    readonly failurePolicy: string;
    readonly sideEffects: string;
    readonly timeoutSeconds: number;
    readonly clientConfig: { readonly caBundle: string; readonly url?: string; readonly service?: object };
    readonly rules: readonly {
      readonly apiGroups: readonly string[];
      readonly operations: readonly string[];
      readonly resources: readonly string[];
    }[];
  }[];
}

test("webhookConfiguration asks about declarations only, and blocks nothing when nobody answers", () => {
  const [webhook] = (webhookConfiguration(judgedKinds(kinds), "PEM") as unknown as Configuration).webhooks;
  assert.ok(webhook !== undefined);
  assert.deepEqual(
    [webhook.failurePolicy, webhook.sideEffects, webhook.timeoutSeconds, webhook.clientConfig.caBundle],
    ["Ignore", "None", 5, "UEVN"],
  );
  const resources = webhook.rules.flatMap((rule) => rule.resources.map((name) => `${name}.${rule.apiGroups.join()}`));
  assert.ok(resources.includes("ebpfprograms.networking.fos1.io") && resources.includes("bpfprograms.bpfd.io"));
  assert.ok(resources.includes("networkpolicies.networking.k8s.io"));
  for (const name of ["pods.", "nodes.", "secrets.", "nodestates.bpfleet.io", "addressslices.bpfleet.io"])
    assert.equal(resources.includes(name), false, name);
  assert.ok(resources.every((name) => !name.includes("/")));
  assert.ok(webhook.rules.every(({ operations }) => operations.join() === "CREATE,UPDATE"));
});

test("webhookConfiguration leaves kinds of others to their own agents", () => {
  const judged = judgedKinds(kinds, ["cilium.io", "crd.projectcalico.org"]);
  assert.ok(judged.length > 0 && judged.every(({ group }) => group !== "cilium.io"));
});

test("webhookService leads to the port that the operator serves the webhook on", () => {
  const { spec } = webhookService() as unknown as { spec: { ports: readonly object[]; selector: object } };
  assert.deepEqual(spec.ports, [{ name: "webhook", port: 443, protocol: "TCP", targetPort: 9443 }]);
  assert.deepEqual(spec.selector, { app: "podconfigmap-controller" });
});
