import { renderAddress } from "@bpfleet/kinds";

const mappedBits = 96;

function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
}

/** 16 bytes, IPv4 as ::ffff:a.b.c.d, with a length of 128; a single address has none behind it. */
export function prefixText(bytes: Uint8Array, length: number): string {
  const isIpv4 = length >= mappedBits && isMapped(bytes);
  const address = renderAddress(isIpv4 ? bytes.subarray(12) : bytes);
  return length === 128 ? address : `${address}/${isIpv4 ? length - mappedBits : length}`;
}

const protocols: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" };

/** As `protocolText` says it; nothing for what is no protocol. */
export function parseProtocolText(text: string): string | undefined {
  const word = text.toLowerCase();
  if (Object.values(protocols).includes(word)) return word;
  return /^\d{1,3}$/.test(word) && Number(word) < 256 ? protocolText(Number(word)) : undefined;
}

export function protocolText(protocol: number): string {
  return protocols[protocol] ?? String(protocol);
}
