import type { Link } from "@bpfleet/netlink";

/** One end of a veth, as netlink lists it. */
export const someLink: Link = {
  ifindex: 2,
  name: "eth0",
  isUp: true,
  altNames: [],
  flags: 0,
  hardwareType: 1,
  mtu: 1500,
  mac: "02:00:00:00:00:01",
  operState: "up",
  kind: "veth",
  masterIfindex: undefined,
  peerIfindex: undefined,
  peerNetnsId: undefined,
  qdisc: "",
  txQueues: 1,
  rxQueues: 1,
  xdp: undefined,
};
