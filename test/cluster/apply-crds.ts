import type { DefinedKind } from "@bpfleet/kinds";
import type { ApiServer } from "./api-server.ts";

const withinMs = 60_000;

/** Applies the CRDs of these kinds and waits until they are served. `kubectl wait` fails where there is no status yet. */
export async function applyCrds(server: ApiServer, kinds: readonly DefinedKind[]): Promise<void> {
  const ours = kinds.filter((kind) => kind.crd() !== undefined);
  for (const kind of ours) server.kubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(kind.crd()));
  const end = performance.now() + withinMs;
  for (const { group, version, plural } of ours) {
    while ((await server.call("GET", `/apis/${group}/${version}/${plural}?limit=1`)).status !== 200) {
      if (performance.now() > end) throw new Error(`apply the CRD ${plural}.${group}: not served after ${withinMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
