/** What is seen of one collection. */
export interface CollectionSight {
  readonly name: string;
  readonly isEmpty: boolean;
  /** Whether it was read. */
  readonly isKnown: boolean;
}

/** What is not read yet is looked at again so soon. */
const unknownMs = 1000;

/**
 * The collections that the index is to name: those with objects, those that were not read yet, and those that became
 * empty a short while ago, for agents that would leave and come again. `emptySince` remembers that while.
 */
export function namedCollections(
  sights: readonly CollectionSight[],
  before: ReadonlySet<string> | undefined,
  emptySince: Map<string, number>,
  nowMs: number,
  lingerMs: number,
): { readonly collections: ReadonlySet<string>; readonly againMs: number | undefined } {
  const collections = new Set<string>();
  let againMs = Infinity;
  for (const { name, isEmpty, isKnown } of sights) {
    if (!isEmpty) {
      emptySince.delete(name);
      collections.add(name);
      if (!isKnown) againMs = Math.min(againMs, unknownMs);
      continue;
    }
    if (before?.has(name) !== true) continue;
    const since = emptySince.get(name) ?? nowMs;
    emptySince.set(name, since);
    if (nowMs - since >= lingerMs) continue;
    collections.add(name);
    againMs = Math.min(againMs, since + lingerMs - nowMs);
  }
  return { collections, againMs: againMs === Infinity ? undefined : againMs };
}
