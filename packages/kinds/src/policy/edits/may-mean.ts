import { parsePrefix } from "../../address/prefix.ts";
import { containsPrefix } from "../contains-prefix.ts";
import type { EditTraffic, Fields } from "./edit.ts";

/** Whether a port that is written so may be the one; of a name that is not told. */
export function mayMeanPort({ port, endPort, protocol }: Fields, carries: EditTraffic | undefined): boolean {
  if (carries === undefined) return true;
  if (protocol !== undefined && protocol !== "ANY" && protocol !== carries.protocol) return false;
  const first = Number(port ?? 0);
  if (carries.protocol === "ICMP" || first === 0 || Number.isNaN(first)) return true;
  return first <= carries.port && carries.port <= Math.max(first, Number(endPort ?? 0));
}

/** Whether the address is one of the block; `isMore`: which is not this address alone. */
export function meansAddress(block: unknown, address: string, isMore = false): boolean {
  if (typeof block !== "string") return false;
  const [whole, part] = [parsePrefix(block), parsePrefix(address)];
  if (!whole.ok || !part.ok || !containsPrefix(whole.prefix, part.prefix)) return false;
  return !isMore || whole.prefix.length < part.prefix.length;
}
