import type { DefinedKind, FleetOutcome } from "@bpfleet/kinds";
import { isApiError, type AnyObject } from "@bpfleet/kube";
import { hasOurStatus, StatusWriter } from "../status/status-writer.ts";
import { pagesOf, typeOf, type RemovalOptions } from "./remove-from-cluster.ts";

const writesAtOnce = 4;

/** Nobody corrects a status any more: each that is ours says what is true from now on. */
export async function tellUndeployed(
  options: RemovalOptions,
  kinds: readonly DefinedKind[],
  undeployed: NonNullable<FleetOutcome["undeployed"]>,
): Promise<void> {
  const { client, teller, timing, signal } = options;
  const writer = new StatusWriter({
    client,
    clock: timing,
    onWrite: ({ kind, metadata }) => teller.wrote("status", `${kind} ${metadata.name}`, "the fleet is undeployed"),
    onRefused: (message) => teller.note(message),
  });
  const outcome = { results: [], silentNodes: [], undeployed };
  const tell = async (kind: DefinedKind, object: AnyObject): Promise<void> => {
    try {
      await writer.write(kind, typeOf(kind), object, outcome, signal);
    } catch (error) {
      // One that is refused keeps nothing else from going.
      if (!isApiError(error)) throw error;
      teller.note(`tell ${kind.kind} ${object.metadata.name} that nothing is in force: ${error.message}`);
    }
  };
  for (const kind of kinds)
    for await (const page of pagesOf(options, typeOf(kind))) {
      const told = page.filter(hasOurStatus).values();
      const work = async (): Promise<void> => {
        for (const object of told) await tell(kind, object);
      };
      await Promise.all(Array.from({ length: writesAtOnce }, work));
    }
}
