/** Packets of an endpoint, by direction: to it or from it. */
import * as make from "../../filter/testing/packets.ts";
import type { Direction } from "./loaded-policy.ts";

export const SYN = 2;
export const ACK = 16;
export const FIN = 1;
export const RST = 4;

export const us = make.v4("10.0.0.2");
export const friend = make.v4("10.0.0.1");
export const stranger = make.v4("192.0.2.9");
export const us6 = make.v6("2001:db8::2");
export const friend6 = make.v6("2001:db8::1");
export const stranger6 = make.v6("2001:db8:9::9");

export const peers = {
  friend: [friend, 32],
  friend6: [friend6, 128],
  near: [make.v4("10.0.0.0"), 24],
} as const;

/** To us when it arrives, from us when it leaves. */
export function endpointPacket(
  direction: Direction,
  peer: Uint8Array,
  protocol: number,
  payload: readonly number[],
  fragment?: { readonly offset: number; readonly more: boolean },
): Buffer {
  const isIpv6 = peer.length === 16;
  const [source, destination] = direction === "ingress" ? [peer, isIpv6 ? us6 : us] : [isIpv6 ? us6 : us, peer];
  if (!isIpv6) {
    const bits = fragment && (fragment.offset / 8) | (fragment.more ? 0x2000 : 0);
    return make.ethernet(
      make.ETH_IPV4,
      make.ipv4(payload, { protocol, source, destination, ...(bits === undefined ? {} : { fragment: bits }) }),
    );
  }
  const { next, bytes } = make.chain(
    fragment ? [{ kind: make.extension.fragment, ...fragment }] : [],
    protocol,
    payload,
  );
  return make.ethernet(make.ETH_IPV6, make.ipv6(bytes, { next, source, destination }));
}

export function tcpPacket(
  direction: Direction,
  local: number,
  remote: number,
  flags: number,
  peer: Uint8Array = friend,
): Buffer {
  const [source, destination] = direction === "ingress" ? [remote, local] : [local, remote];
  return endpointPacket(direction, peer, 6, make.tcp([], { source, destination }).with(13, flags));
}

export function udpPacket(direction: Direction, local: number, remote: number, peer: Uint8Array = friend): Buffer {
  const [source, destination] = direction === "ingress" ? [remote, local] : [local, remote];
  return endpointPacket(direction, peer, 17, make.udp([], { source, destination }));
}

/** What an ICMP error carries: the packet from its network header on, as far as routers quote it. */
export function icmpError(
  direction: Direction,
  router: Uint8Array,
  about: Buffer,
  type = router.length === 16 ? 1 : 3,
): Buffer {
  const quoted = [...about.subarray(14, 14 + (router.length === 16 ? 48 : 28))];
  return endpointPacket(direction, router, router.length === 16 ? 58 : 1, [type, 0, 0, 0, 0, 0, 0, 0, ...quoted]);
}
