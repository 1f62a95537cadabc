/**
 * ICMP types that may be written by name, as Cilium spells them.
 * https://docs.cilium.io/en/stable/security/policy/language/#limit-icmp-icmpv6-types
 */
export const icmpTypes = {
  IPv4: {
    EchoReply: 0,
    DestinationUnreachable: 3,
    Redirect: 5,
    Echo: 8,
    EchoRequest: 8,
    RouterAdvertisement: 9,
    RouterSelection: 10,
    TimeExceeded: 11,
    ParameterProblem: 12,
    Timestamp: 13,
    TimestampReply: 14,
    Photuris: 40,
    ExtendedEchoRequest: 42,
    ExtendedEchoReply: 43,
  },
  IPv6: {
    DestinationUnreachable: 1,
    PacketTooBig: 2,
    TimeExceeded: 3,
    ParameterProblem: 4,
    EchoRequest: 128,
    EchoReply: 129,
    MulticastListenerQuery: 130,
    MulticastListenerReport: 131,
    MulticastListenerDone: 132,
    RouterSolicitation: 133,
    RouterAdvertisement: 134,
    NeighborSolicitation: 135,
    NeighborAdvertisement: 136,
    RedirectMessage: 137,
    RouterRenumbering: 138,
    ICMPNodeInformationQuery: 139,
    ICMPNodeInformationResponse: 140,
    InverseNeighborDiscoverySolicitation: 141,
    InverseNeighborDiscoveryAdvertisement: 142,
    HomeAgentAddressDiscoveryRequestMessage: 144,
    HomeAgentAddressDiscoveryReplyMessage: 145,
    MobilePrefixSolicitation: 146,
    MobilePrefixAdvertisement: 147,
    DuplicateAddressRequestCodeSuffix: 157,
    DuplicateAddressConfirmationCodeSuffix: 158,
    ExtendedEchoRequest: 160,
    ExtendedEchoReply: 161,
  },
} as const;

/** The number of a type that is written as number, as its digits, or by name; `undefined` for none. */
export function parseIcmpType(family: "IPv4" | "IPv6", written: string | number): number | undefined {
  if (typeof written === "number" || /^\d{1,3}$/.test(written)) {
    const number = Number(written);
    return Number.isInteger(number) && number >= 0 && number <= 255 ? number : undefined;
  }
  const names: Readonly<Record<string, number>> = icmpTypes[family];
  return Object.hasOwn(names, written) ? names[written] : undefined;
}
