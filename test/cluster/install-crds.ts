import { setTimeout as pause } from "node:timers/promises";
import type { DefinedKind } from "@bpfleet/kinds";
import type { ApiServer } from "./api-server.ts";

const mostMs = 120_000;

interface Condition {
  readonly type: string;
  readonly status: string;
}

/** Applies the CRDs of kinds that have one, and waits until each is served. */
export async function installCrds(api: ApiServer, kinds: readonly DefinedKind[]): Promise<void> {
  const ours = kinds.filter((kind) => kind.crd() !== undefined);
  for (const kind of ours) api.kubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(kind.crd()));
  await crdsServed(api, ours);
}

/** `kubectl wait` ends with an error where a CRD has no conditions yet. */
export async function crdsServed(api: ApiServer, kinds: readonly DefinedKind[]): Promise<void> {
  const end = performance.now() + mostMs;
  for (const { plural, group, version } of kinds) {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${plural}.${group}`;
    for (;;) {
      const { body } = await api.call("GET", path);
      const status = body["status"] as { readonly conditions?: readonly Condition[] | null } | undefined;
      const conditions = status?.conditions ?? [];
      const isEstablished = conditions.some(({ type, status }) => type === "Established" && status === "True");
      if (isEstablished && (await api.call("GET", `/apis/${group}/${version}/${plural}`)).status === 200) break;
      if (performance.now() > end) throw new Error(`wait for ${plural}.${group}: ${JSON.stringify(conditions)}`);
      await pause(50);
    }
  }
}
