import type { OwnAddress } from "../table/policy-table.ts";
import { bytesOfKey, isOfOneLink, parseAddressKey } from "./address-key.ts";
import type { LocalPod } from "./statements.ts";

/** Of the pods on one interface: what its facts tell, and what the API server does. */
export function ownAddresses(pods: readonly LocalPod[]): readonly OwnAddress[] {
  const own = new Map<string, boolean>();
  for (const { workload, facts } of pods) {
    if (!facts?.found) continue;
    for (const text of [...workload.addresses, ...facts.addresses]) {
      const key = parseAddressKey(text);
      if (key === undefined || isOfOneLink(key)) continue;
      own.set(key, own.get(key) === true || hasNeighbours(text));
    }
  }
  return [...own]
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([key, isShared]) => ({ bytes: bytesOfKey(key), hasNeighbours: isShared }));
}

function hasNeighbours(text: string): boolean {
  const [address = "", length] = text.split("/", 2);
  return length !== undefined && Number(length) < (address.includes(":") ? 128 : 32);
}
