import { parsePrefix, renderPrefix } from "../../address/prefix.ts";
import type { IssueList } from "../../schema/admit.ts";

/** Says how a CIDR is read that has bits set past its length. */
export function warnOfHostBits(text: unknown, path: string, found: IssueList): void {
  if (typeof text !== "string") return;
  const read = parsePrefix(text);
  if (read.ok && read.hadHostBits)
    found.warning(path, "host-bits", `${text} has bits set past its length; read as ${renderPrefix(read.prefix)}`);
}

export function familyOf(text: string | undefined): 4 | 6 | undefined {
  if (text === undefined) return undefined;
  const read = parsePrefix(text);
  return read.ok ? read.prefix.family : undefined;
}
