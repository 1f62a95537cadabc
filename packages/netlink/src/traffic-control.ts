import { headOf, readAttributes, textOf, u32Of, type Attributes } from "./attributes.ts";
import { renderHex } from "@bpfleet/base";
import type { NetlinkMessage } from "./message.ts";

/** A handle of traffic control: `1:10` is 0x1_0010. */
export type TcHandle = number;

export const tcHandles = {
  root: 0xffffffff,
  clsact: 0xfffffff1,
  clsactIngress: 0xfffffff2,
  clsactEgress: 0xfffffff3,
} as const;

export interface Qdisc {
  readonly ifindex: number;
  readonly handle: TcHandle;
  readonly parent: TcHandle;
  /** `noqueue`, `htb`, `clsact`, … */
  readonly kind: string;
}

export interface TcFilter {
  readonly ifindex: number;
  readonly handle: TcHandle;
  readonly parent: TcHandle;
  readonly priority: number;
  /** EtherType in host order: 3 is ETH_P_ALL. */
  readonly protocol: number;
  readonly chain: number;
  /** `bpf`, `u32`, … */
  readonly kind: string;
  /** Of kind `bpf`. */
  readonly bpf: BpfFilter | undefined;
}

export interface BpfFilter {
  readonly name: string;
  readonly programId: number | undefined;
  /** Hexadecimal, as the kernel shows it. */
  readonly tag: string;
  /** The program's return value is the verdict. */
  readonly isDirectAction: boolean;
}

const tcmsgBytes = 20;
const attribute = { kind: 1, options: 2, chain: 11 } as const;

export function decodeQdisc({ payload }: NetlinkMessage): Qdisc {
  const head = headOf(payload, tcmsgBytes, "tcmsg");
  const attributes = readAttributes(payload.subarray(tcmsgBytes));
  return {
    ifindex: head.getInt32(4, true),
    handle: head.getUint32(8, true),
    parent: head.getUint32(12, true),
    kind: textOf(attributes.get(attribute.kind) ?? new Uint8Array()),
  };
}

export function decodeFilter({ payload }: NetlinkMessage): TcFilter {
  const head = headOf(payload, tcmsgBytes, "tcmsg");
  const attributes = readAttributes(payload.subarray(tcmsgBytes));
  const info = head.getUint32(16, true);
  const kind = textOf(attributes.get(attribute.kind) ?? new Uint8Array());
  const options = attributes.get(attribute.options);
  const chain = attributes.get(attribute.chain);
  return {
    ifindex: head.getInt32(4, true),
    handle: head.getUint32(8, true),
    parent: head.getUint32(12, true),
    priority: info >>> 16,
    protocol: ((info & 0xff) << 8) | ((info >>> 8) & 0xff),
    chain: chain === undefined ? 0 : u32Of(chain, "TCA_CHAIN"),
    kind,
    bpf: kind === "bpf" && options !== undefined ? bpfFilterOf(readAttributes(options)) : undefined,
  };
}

const bpfAttribute = { name: 7, flags: 8, tag: 10, id: 11 } as const;
const directAction = 0x1;

function bpfFilterOf(options: Attributes): BpfFilter {
  const id = options.get(bpfAttribute.id);
  const flags = options.get(bpfAttribute.flags);
  return {
    name: textOf(options.get(bpfAttribute.name) ?? new Uint8Array()),
    programId: id === undefined ? undefined : u32Of(id, "TCA_BPF_ID"),
    tag: renderHex(options.get(bpfAttribute.tag) ?? new Uint8Array()),
    isDirectAction: flags !== undefined && (u32Of(flags, "TCA_BPF_FLAGS") & directAction) !== 0,
  };
}

/** `1:10`, `ffff:fff2`, `root`, `none`. */
export function renderHandle(handle: TcHandle): string {
  if (handle === tcHandles.root) return "root";
  if (handle === 0) return "none";
  const minor = handle & 0xffff;
  return `${(handle >>> 16).toString(16)}:${minor === 0 ? "" : minor.toString(16)}`;
}
