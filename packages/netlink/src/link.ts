import { headOf, listAttributes, readAttributes, textOf, u32Of, u8Of, type Attributes } from "./attributes.ts";
import { renderMac } from "./address-text.ts";
import type { NetlinkMessage } from "./message.ts";

/** A network interface. */
export interface Link {
  readonly ifindex: number;
  readonly name: string;
  readonly altNames: readonly string[];
  /** `IFF_*` bits. */
  readonly flags: number;
  /** Administratively up (IFF_UP). */
  readonly isUp: boolean;
  /** `ARPHRD_*`: 1 is Ethernet, 772 loopback. */
  readonly hardwareType: number;
  readonly mtu: number;
  /** Lower-case, colons. */
  readonly mac: string;
  /** `up`, `down`, `unknown`, …; as `ip` shows it, in lower case. */
  readonly operState: string;
  /** `veth`, `bridge`, …; "" for a device. */
  readonly kind: string;
  readonly masterIfindex: number | undefined;
  /** The other end of a veth, the lower device of a vlan; in the namespace `peerNetnsId` when that is given. */
  readonly peerIfindex: number | undefined;
  readonly peerNetnsId: number | undefined;
  readonly qdisc: string;
  readonly txQueues: number;
  readonly rxQueues: number;
  readonly xdp: LinkXdp | undefined;
}

/** XDP programs on an interface, by their kernel ids. */
export interface LinkXdp {
  /** `multi` when several modes are in use at once. */
  readonly mode: "native" | "skb" | "offload" | "multi";
  readonly programIds: readonly number[];
}

const ifinfomsgBytes = 16;
const ifUp = 0x1;
const operStates = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];
const attribute = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  qdisc: 6,
  master: 10,
  operState: 16,
  linkInfo: 18,
  txQueues: 31,
  rxQueues: 32,
  linkNetnsId: 37,
  xdp: 43,
  propList: 52,
  altName: 53,
} as const;
const linkInfoKind = 1;

/**
 * `undefined` for messages of one address family: an interface that leaves a bridge is reported as gone,
 * for AF_BRIDGE alone.
 */
export function decodeLink({ payload }: NetlinkMessage): Link | undefined {
  const head = headOf(payload, ifinfomsgBytes, "ifinfomsg");
  if (head.getUint8(0) !== 0) return undefined;
  const attributes = readAttributes(payload.subarray(ifinfomsgBytes));
  const number = (type: number, name: string) => optionalU32(attributes, type, name);
  const text = (type: number) => textOf(attributes.get(type) ?? new Uint8Array());
  const info = attributes.get(attribute.linkInfo);
  const flags = head.getUint32(8, true);
  return {
    ifindex: head.getInt32(4, true),
    name: text(attribute.name),
    altNames: altNamesOf(attributes.get(attribute.propList)),
    flags,
    isUp: (flags & ifUp) !== 0,
    hardwareType: head.getUint16(2, true),
    mtu: number(attribute.mtu, "IFLA_MTU") ?? 0,
    mac: renderMac(attributes.get(attribute.address) ?? new Uint8Array()),
    operState: operStateOf(attributes.get(attribute.operState)),
    kind: info === undefined ? "" : textOf(readAttributes(info).get(linkInfoKind) ?? new Uint8Array()),
    masterIfindex: number(attribute.master, "IFLA_MASTER"),
    peerIfindex: number(attribute.link, "IFLA_LINK"),
    peerNetnsId: number(attribute.linkNetnsId, "IFLA_LINK_NETNSID"),
    qdisc: text(attribute.qdisc),
    txQueues: number(attribute.txQueues, "IFLA_NUM_TX_QUEUES") ?? 1,
    rxQueues: number(attribute.rxQueues, "IFLA_NUM_RX_QUEUES") ?? 1,
    xdp: xdpOf(attributes.get(attribute.xdp)),
  };
}

function optionalU32(attributes: Attributes, type: number, name: string): number | undefined {
  const value = attributes.get(type);
  return value === undefined ? undefined : u32Of(value, name);
}

function operStateOf(value: Uint8Array | undefined): string {
  return (value === undefined ? undefined : operStates[u8Of(value, "IFLA_OPERSTATE")]) ?? "unknown";
}

function altNamesOf(value: Uint8Array | undefined): string[] {
  if (value === undefined) return [];
  return listAttributes(value)
    .filter(({ type }) => type === attribute.altName)
    .map((name) => textOf(name.value));
}

const xdpAttribute = { attached: 2, programId: 4, nativeProgramId: 5, skbProgramId: 6, offloadProgramId: 7 } as const;
const xdpModes = [undefined, "native", "skb", "offload", "multi"] as const;

function xdpOf(value: Uint8Array | undefined): LinkXdp | undefined {
  const attached = value === undefined ? undefined : readAttributes(value);
  const mode = xdpModes[u8Of(attached?.get(xdpAttribute.attached) ?? Uint8Array.of(0), "IFLA_XDP_ATTACHED")];
  if (attached === undefined || mode === undefined) return undefined;
  const ids = [
    xdpAttribute.programId,
    xdpAttribute.nativeProgramId,
    xdpAttribute.skbProgramId,
    xdpAttribute.offloadProgramId,
  ]
    .map((type) => optionalU32(attached, type, "IFLA_XDP_PROG_ID"))
    .filter((id) => id !== undefined);
  return { mode, programIds: [...new Set(ids)] };
}
