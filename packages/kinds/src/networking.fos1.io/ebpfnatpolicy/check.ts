import type { IssueList } from "../../schema/admit.ts";
import { warnOfHostBits } from "../parts/prefixes.ts";
import type { EBPFNATPolicy } from "./schema.ts";

/** What is probably not meant. */
export function checkNatPolicy({ spec }: EBPFNATPolicy, found: IssueList): void {
  if (!found.isSound("/spec/type")) return;
  const { type, externalIP, sourceAddresses, enableTracking, portMappings } = spec;
  if (type === "masquerade" && externalIP !== undefined)
    found.warning(
      "/spec/externalIP",
      "no-effect",
      "has no effect for type masquerade, which takes the address of the interface; use snat",
    );
  if (type === "dnat" && sourceAddresses !== undefined)
    found.warning(
      "/spec/sourceAddresses",
      "no-effect",
      "has no effect for type dnat, which takes packets of all sources",
    );
  if (
    type !== "dnat" &&
    (sourceAddresses === undefined || (Array.isArray(sourceAddresses) && sourceAddresses.length === 0))
  )
    found.warning(
      "/spec/sourceAddresses",
      "everything",
      "is left out, so every packet that leaves is translated, the node's own too",
    );
  if (!enableTracking)
    found.warning(
      "/spec/enableTracking",
      "no-replies",
      "is false, so replies are not translated back: connections do not come about",
    );
  for (const [index, source] of (Array.isArray(sourceAddresses) ? sourceAddresses : []).entries())
    warnOfHostBits(source, `/spec/sourceAddresses/${index}`, found);
  for (const [index, mapping] of (Array.isArray(portMappings) ? portMappings : []).entries()) {
    const path = `/spec/portMappings/${index}`;
    if (!found.isSound(path)) continue;
    const { externalPort, protocol, internalIP } = mapping;
    if (externalPort === 22 && protocol === "tcp")
      found.warning(
        `${path}/externalPort`,
        "lock-out",
        "takes the port of SSH: who logs in to externalIP reaches the other machine",
      );
    if (/^(?:127\.|::1$)/.test(internalIP))
      found.warning(
        `${path}/internalIP`,
        "loopback",
        `${internalIP} is this node itself; the kernel drops packets from outside to it`,
      );
  }
}
