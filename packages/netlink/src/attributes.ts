import { decodeUtf8, encodeUtf8 } from "@bpfleet/base";
import { NetlinkError } from "./netlink-error.ts";

/** Attributes by number, flags taken off. Where a number repeats, the last one counts. */
export type Attributes = ReadonlyMap<number, Uint8Array>;

const attributeHeaderBytes = 4;
/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const typeMask = 0x3fff;

/** Every attribute in its order, for lists in which numbers repeat. */
export function listAttributes(bytes: Uint8Array): { readonly type: number; readonly value: Uint8Array }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const list: { type: number; value: Uint8Array }[] = [];
  let at = 0;
  // Fewer bytes than a header are padding.
  while (bytes.length - at >= attributeHeaderBytes) {
    const length = view.getUint16(at, true);
    if (length < attributeHeaderBytes)
      throw new NetlinkError("malformed", `read attributes: one of ${length} bytes is shorter than its header`);
    if (length > bytes.length - at)
      throw new NetlinkError("truncated", `read attributes: one of ${length} bytes, ${bytes.length - at} left`);
    list.push({
      type: view.getUint16(at + 2, true) & typeMask,
      value: bytes.subarray(at + attributeHeaderBytes, at + length),
    });
    at += (length + 3) & ~3;
  }
  return list;
}

export function readAttributes(bytes: Uint8Array): Attributes {
  return new Map(listAttributes(bytes).map(({ type, value }) => [type, value]));
}

export function encodeAttribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((attributeHeaderBytes + value.length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, attributeHeaderBytes + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, attributeHeaderBytes);
  return bytes;
}

export function encodeU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** With the closing zero that the kernel wants. */
export function encodeText(text: string): Uint8Array {
  const utf8 = encodeUtf8(text);
  const bytes = new Uint8Array(utf8.length + 1);
  bytes.set(utf8);
  return bytes;
}

export function u8Of(value: Uint8Array, name: string): number {
  return sized(value, 1, name).getUint8(0);
}

export function u16Of(value: Uint8Array, name: string): number {
  return sized(value, 2, name).getUint16(0, true);
}

export function u32Of(value: Uint8Array, name: string): number {
  return sized(value, 4, name).getUint32(0, true);
}

/** Up to the first zero. */
export function textOf(value: Uint8Array): string {
  const end = value.indexOf(0);
  return decodeUtf8(end < 0 ? value : value.subarray(0, end));
}

/** The fixed head of a message, before its attributes. */
export function headOf(payload: Uint8Array, sizeBytes: number, name: string): DataView {
  if (payload.length < sizeBytes)
    throw new NetlinkError("truncated", `read ${name}: ${payload.length} bytes, its head has ${sizeBytes}`);
  return new DataView(payload.buffer, payload.byteOffset, sizeBytes);
}

function sized(value: Uint8Array, sizeBytes: number, name: string): DataView {
  if (value.length < sizeBytes)
    throw new NetlinkError("malformed", `read ${name}: ${value.length} bytes, it has ${sizeBytes}`);
  return new DataView(value.buffer, value.byteOffset, value.byteLength);
}
