/** The ConfigMap in which the operator tells agents what there is, so that each need not look for itself. */
export const fleetIndexPlace = { namespace: "kube-system", name: "bpfleet-index" } as const;

export interface FleetIndex {
  /** Collections in which there are objects, `ebpfprograms.networking.fos1.io`. */
  readonly collections: ReadonlySet<string>;
  /** About how many nodes there are, never fewer. */
  readonly nodes: number;
}

export function collectionOf({ plural, group }: { readonly plural: string; readonly group: string }): string {
  return `${plural}.${group}`;
}

export function renderFleetIndex({
  collections,
  nodes,
}: FleetIndex): Readonly<Record<"collections" | "nodes", string>> {
  return { collections: [...collections].toSorted().join("\n"), nodes: String(aboutSoMany(nodes)) };
}

/** `undefined` for what cannot be read: whoever reads it looks for itself then. */
export function parseFleetIndex(data: unknown): FleetIndex | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const { collections, nodes } = data as { readonly collections?: unknown; readonly nodes?: unknown };
  if (typeof collections !== "string" || typeof nodes !== "string" || !/^\d{1,9}$/.test(nodes)) return undefined;
  return { collections: new Set(collections.split("\n").filter((line) => line !== "")), nodes: Number(nodes) };
}

/** The next power of two: every agent is told of a change, and one node more or less is none. */
function aboutSoMany(nodes: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, nodes)));
}
