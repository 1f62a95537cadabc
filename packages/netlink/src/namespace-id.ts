import { encodeAttribute, encodeU32, readAttributes, u32Of } from "./attributes.ts";
import { encodeMessage, messageFlags, type NetlinkMessage } from "./message.ts";

const types = { there: 88, gone: 89, get: 90 } as const;
/** NETNSA_*. */
const attribute = { id: 1, pid: 2, fd: 3 } as const;
/** rtgenmsg, padded. */
const headBytes = 4;
const notAssigned = 0xffff_ffff;

/** A network namespace, by a process in it or by an open descriptor of the one who asks. */
export type NamespaceRef = { readonly pid: number } | { readonly fd: number };

/** Asks by which number this network namespace knows another one. */
export function encodeNamespaceIdRequest(which: NamespaceRef, sequence: number): Uint8Array {
  return encode(types.get, messageFlags.request, sequence, [refOf(which)]);
}

/** Has the kernel give it a number; refused with EEXIST when it has one. */
export function encodeNewNamespaceId(which: NamespaceRef, sequence: number): Uint8Array {
  const any = encodeAttribute(attribute.id, encodeU32(notAssigned));
  return encode(types.there, messageFlags.request | messageFlags.ack, sequence, [refOf(which), any]);
}

function refOf(which: NamespaceRef): Uint8Array {
  return "pid" in which
    ? encodeAttribute(attribute.pid, encodeU32(which.pid))
    : encodeAttribute(attribute.fd, encodeU32(which.fd));
}

function encode(type: number, flags: number, sequence: number, attributes: readonly Uint8Array[]): Uint8Array {
  const payload = new Uint8Array(headBytes + attributes.reduce((sum, { length }) => sum + length, 0));
  let at = headBytes;
  for (const each of attributes) {
    payload.set(each, at);
    at += each.length;
  }
  return encodeMessage({ type, flags, sequence, portId: 0, payload });
}

/**
 * `undefined`: it has no number. It gets one with the first interface that has its other end there, or when it is asked
 * for; numbers of namespaces that are gone are given again.
 */
export function decodeNamespaceId({ type, payload }: NetlinkMessage): number | undefined {
  const value = type === types.there ? readAttributes(payload.subarray(headBytes)).get(attribute.id) : undefined;
  const id = value === undefined ? notAssigned : u32Of(value, "NETNSA_NSID");
  return id === notAssigned ? undefined : id;
}
