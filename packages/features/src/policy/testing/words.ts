/*
 * Few words, addresses and ports, so that what is written and what is sent meet often.
 */

export const words = {
  namespaces: ["x", "y", "z"],
  apps: ["a", "b", "c"],
  tiers: ["front", "back"],
  environments: ["live", "test"],
  serviceAccounts: ["default", "robot"],
  zones: ["east", "west"],
  portNames: ["http", "dns", "odd"],
  ports: [1, 53, 80, 81, 443, 8079, 8080, 8085, 8090, 8091, 65535],
  icmpTypes: [0, 3, 8],
  icmpv6Types: [1, 128, 129],
  /** Of DNS. */
  names: [
    "a.test",
    "b.test",
    "x.a.test",
    "y.a.test",
    "z.y.a.test",
    "api.b.test",
    "db-1.shop",
    "db-2.shop",
    "other.org",
  ],
  patterns: ["*", "*.a.test", "**.a.test", "*.test", "db-*.shop", "a*.b.test", "*b.test", "**.test"],
  /** IGMP, GRE, ESP, VRRP, and one that no policy can name. */
  otherProtocols: [2, 47, 50, 112, 99],
} as const;

export function isIpv6(address: string): boolean {
  return address.includes(":");
}
