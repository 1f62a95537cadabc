import type { KubeObject } from "../../kind.ts";
import { append, type EditWish, type PolicyEdit } from "./edit.ts";

/** Another port that anybody may reach: an l4Firewall tells nobody from nobody, and has no other protocols. */
export function firewallEdits(object: KubeObject, { direction, carries }: EditWish): readonly PolicyEdit[] {
  if (direction !== "ingress" || (carries.protocol !== "TCP" && carries.protocol !== "UDP")) return [];
  return [append(object, "/spec/ebpfConfig/l4Firewall/allowedPorts", carries.port)];
}
