import { readAttributes, textOf, u32Of } from "./attributes.ts";
import { NetlinkError } from "./netlink-error.ts";

/** One message as it stood in a datagram. Netlink is in host byte order; every CPU we run on is little-endian. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly portId: number;
  /** What follows the 16 bytes of the header: a view, not a copy. */
  readonly payload: Uint8Array;
}

/** `NLM_F_*` flags that we send or read. */
export const messageFlags = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  /** The dump ran into a change: what it listed may be torn, dump again. */
  dumpInterrupted: 0x10,
  /** Of NLMSG_ERROR: the failed request is not repeated in full. */
  capped: 0x100,
  /** Of NLMSG_ERROR and NLMSG_DONE: attributes with the reason follow. */
  ackAttributes: 0x200,
  /** NLM_F_ROOT | NLM_F_MATCH. */
  dump: 0x300,
} as const;

const controlTypes = { noop: 1, error: 2, done: 3, overrun: 4 } as const;
const headerBytes = 16;

/** Splits a datagram into its messages. */
export function parseMessages(datagram: Uint8Array): NetlinkMessage[] {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at < datagram.length) {
    const rest = datagram.length - at;
    if (rest < headerBytes)
      throw new NetlinkError("truncated", `split netlink datagram: ${rest} bytes left, a header has ${headerBytes}`);
    const length = view.getUint32(at, true);
    if (length < headerBytes)
      throw new NetlinkError(
        "malformed",
        `split netlink datagram: a message of ${length} bytes is shorter than its header`,
      );
    if (length > rest)
      throw new NetlinkError("truncated", `split netlink datagram: a message of ${length} bytes, ${rest} left`);
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      portId: view.getUint32(at + 12, true),
      payload: datagram.subarray(at + headerBytes, at + length),
    });
    at += align4(length);
  }
  return messages;
}

export function encodeMessage(message: NetlinkMessage): Uint8Array {
  const bytes = new Uint8Array(align4(headerBytes + message.payload.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, headerBytes + message.payload.length, true);
  view.setUint16(4, message.type, true);
  view.setUint16(6, message.flags, true);
  view.setUint32(8, message.sequence, true);
  view.setUint32(12, message.portId, true);
  bytes.set(message.payload, headerBytes);
  return bytes;
}

/** What a message is for the one who waits for it. */
export type Reading =
  | { readonly kind: "data"; readonly message: NetlinkMessage }
  /** The end of a dump. */
  | { readonly kind: "done" }
  /** A request was carried out. */
  | { readonly kind: "ack" }
  | { readonly kind: "refusal"; readonly refusal: Refusal }
  /** Messages were lost. */
  | { readonly kind: "overrun" }
  | { readonly kind: "noop" };

/** The kernel's no. */
export interface Refusal {
  /** Positive: 19 is ENODEV. */
  readonly errno: number;
  /** The kernel's own sentence (extended acknowledgement); "" when it gave none. */
  readonly text: string;
  /** Where in the request the refused attribute stands. */
  readonly offset: number | undefined;
}

export function readMessage(message: NetlinkMessage): Reading {
  switch (message.type) {
    case controlTypes.noop:
      return { kind: "noop" };
    case controlTypes.overrun:
      return { kind: "overrun" };
    case controlTypes.error: {
      const errno = errnoOf(message, "NLMSG_ERROR");
      return errno === 0
        ? { kind: "ack" }
        : { kind: "refusal", refusal: { errno, ...reasonOf(message, reasonOffset(message)) } };
    }
    case controlTypes.done: {
      // Old kernels end a dump without a code.
      const errno = message.payload.length < 4 ? 0 : errnoOf(message, "NLMSG_DONE");
      return errno === 0 ? { kind: "done" } : { kind: "refusal", refusal: { errno, ...reasonOf(message, 4) } };
    }
    default:
      return { kind: "data", message };
  }
}

function errnoOf(message: NetlinkMessage, what: string): number {
  const { payload } = message;
  if (payload.length < 4) throw new NetlinkError("truncated", `read ${what}: ${payload.length} bytes, a code has 4`);
  return Math.abs(new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getInt32(0, true));
}

/** The reason follows the code and the request it answers: all of it, or its header when capped. */
function reasonOffset({ payload, flags }: NetlinkMessage): number {
  if (payload.length < 4 + headerBytes) return payload.length;
  if ((flags & messageFlags.capped) !== 0) return 4 + headerBytes;
  const length = new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getUint32(4, true);
  return 4 + align4(Math.max(length, headerBytes));
}

const reasonAttributes = { text: 1, offset: 2 } as const;

function reasonOf(message: NetlinkMessage, at: number): Pick<Refusal, "text" | "offset"> {
  if ((message.flags & messageFlags.ackAttributes) === 0 || at >= message.payload.length)
    return { text: "", offset: undefined };
  const attributes = readAttributes(message.payload.subarray(at));
  const text = attributes.get(reasonAttributes.text);
  const offset = attributes.get(reasonAttributes.offset);
  return {
    text: text === undefined ? "" : textOf(text),
    offset: offset === undefined ? undefined : u32Of(offset, "NLMSGERR_ATTR_OFFS"),
  };
}

export function align4(length: number): number {
  return (length + 3) & ~3;
}
