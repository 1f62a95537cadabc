import { icmpTypes } from "../../policy/icmp-types.ts";

/** `icmps` of a rule about ICMP as a whole: every type that Cilium has a name for. */
export const everyIcmp = (["IPv4", "IPv6"] as const).map((family) => ({
  fields: [...new Set(Object.values(icmpTypes[family]))].map((type) => ({ family, type })),
}));
