import { headOf, readAttributes, textOf, u32Of } from "./attributes.ts";
import { renderIp } from "./address-text.ts";
import type { NetlinkMessage } from "./message.ts";

/** An address of an interface. */
export interface Address {
  readonly ifindex: number;
  readonly family: 4 | 6;
  /** The interface's own end: what `ip` calls `local`. */
  readonly address: string;
  /** The far end of a point-to-point link. */
  readonly peer: string | undefined;
  readonly prefixLength: number;
  /** `global`, `link`, `host`, `site`, `nowhere` or a number. */
  readonly scope: string;
  readonly label: string;
  /** `IFA_F_*` bits. */
  readonly flags: number;
}

const ifaddrmsgBytes = 8;
const attribute = { address: 1, local: 2, label: 3, flags: 8 } as const;

/** `undefined` for families other than IPv4 and IPv6. */
export function decodeAddress({ payload }: NetlinkMessage): Address | undefined {
  const head = headOf(payload, ifaddrmsgBytes, "ifaddrmsg");
  const family = ipFamily(head.getUint8(0));
  if (family === undefined) return undefined;
  const attributes = readAttributes(payload.subarray(ifaddrmsgBytes));
  const address = attributes.get(attribute.address);
  // IPv6 names a local address only when it differs from the far end's; IPv4 always does.
  const local = attributes.get(attribute.local) ?? address;
  if (local === undefined) return undefined;
  const peer = address === undefined ? undefined : renderIp(address);
  const flags = attributes.get(attribute.flags);
  return {
    ifindex: head.getUint32(4, true),
    family,
    address: renderIp(local),
    peer: peer === renderIp(local) ? undefined : peer,
    prefixLength: head.getUint8(1),
    scope: scopeName(head.getUint8(3)),
    label: textOf(attributes.get(attribute.label) ?? new Uint8Array()),
    flags: flags === undefined ? head.getUint8(2) : u32Of(flags, "IFA_FLAGS"),
  };
}

/** AF_INET and AF_INET6. */
export function ipFamily(family: number): 4 | 6 | undefined {
  return family === 2 ? 4 : family === 10 ? 6 : undefined;
}

export function scopeName(scope: number): string {
  return { 0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere" }[scope] ?? `${scope}`;
}
