import { renderHex } from "@bpfleet/base";
import { renderIdentity } from "./identity.ts";
import { mapIdentity } from "./identity.ts";
import type { ItemResult } from "./port.ts";
import type { MapSpec, NodePlan } from "./specs.ts";

/**
 * What the kernel cannot tell and the next diff needs: plain JSON that the daemon keeps on disk.
 * Write `journalBefore` down before applying, and `journalAfter` afterwards.
 */
export interface Journal {
  /**
   * Of maps whose contents are kept, by `key@generation`: the keys of entries that may be ours, sorted,
   * in hexadecimal, one after the other.
   */
  readonly owned: Readonly<Record<string, string>>;
  /** Generations of hooks that the kernel refused to inline; they stay with stubs. */
  readonly refusedInline: readonly string[];
  /** By key of the hook: why it does not run as asked (HookResult.reason). */
  readonly reasons?: Readonly<Record<string, string>> | undefined;
}

export const emptyJournal: Journal = { owned: {}, refusedInline: [] };

/** Everything that was ours, and everything that this plan may make ours. */
export function journalBefore(journal: Journal, plan: NodePlan): Journal {
  const owned = { ...journal.owned };
  for (const spec of keptMaps(plan)) {
    const name = renderIdentity(mapIdentity(spec));
    owned[name] = joinKeys(new Set([...ownedKeys(journal, spec), ...plannedKeys(spec)]));
  }
  return { ...journal, owned };
}

/**
 * Forgets what is no longer ours: the rest of maps that are now as planned, and maps that nobody plans. Of a map
 * that is to be replaced and is not yet, what is ours in the old one stays known.
 * Remembers why hooks do not run as asked.
 */
export function journalAfter(journal: Journal, plan: NodePlan, results: readonly ItemResult[]): Journal {
  const inForce = new Set(
    results.filter((item) => item.item === "map" && item.state === "in-force").map((item) => item.key),
  );
  const owned: Record<string, string> = {};
  for (const spec of keptMaps(plan)) {
    const name = renderIdentity(mapIdentity(spec));
    if (inForce.has(spec.key)) owned[name] = joinKeys(new Set(plannedKeys(spec)));
    else
      for (const [known, keys] of Object.entries(journal.owned))
        if (known.startsWith(`${mapIdentity(spec).key}@`)) owned[known] = keys;
  }
  const reasons = Object.fromEntries(
    results.flatMap(({ key, hook }) => (hook?.reason === undefined ? [] : [[key, hook.reason]])),
  );
  return { ...journal, owned, reasons };
}

/** In hexadecimal, one per key. */
export function ownedKeys(journal: Journal, spec: MapSpec): Set<string> {
  const text = journal.owned[renderIdentity(mapIdentity(spec))] ?? "";
  const digits = spec.definition.keySize * 2;
  const keys = new Set<string>();
  if (digits === 0) return keys;
  for (let at = 0; at + digits <= text.length; at += digits) keys.add(text.slice(at, at + digits));
  return keys;
}

function keptMaps(plan: NodePlan): readonly MapSpec[] {
  return plan.maps.filter((spec) => spec.contents.kind === "kept");
}

function plannedKeys(spec: MapSpec): string[] {
  if (spec.contents.kind !== "kept") return [];
  const digits = spec.definition.keySize * 2;
  const text = renderHex(spec.contents.entries.keys);
  return Array.from({ length: digits === 0 ? 0 : spec.contents.entries.count }, (_, index) =>
    text.slice(index * digits, (index + 1) * digits),
  );
}

function joinKeys(keys: ReadonlySet<string>): string {
  return [...keys].toSorted().join("");
}
