/** What an answer of DNS teaches, by the reader of names of dns-packet: what the one in the kernel is held against. */
import { createRequire } from "node:module";
import { types, type Question } from "./dns-messages.ts";

/** What the types of the package leave out. */
interface NameReader {
  readonly name: { readonly decode: ((message: Buffer, at: number) => string) & { readonly bytes: number } };
}

const { name: reader } = createRequire(import.meta.url)("dns-packet") as NameReader;

export interface Taught {
  /** In the order of the records, each as often as it is there. */
  readonly addresses: readonly Uint8Array[];
  readonly event: "unasked" | "unreadable" | "cut" | undefined;
}

const mostBytes = 2048;
const mostRecords = 64;

/** `undefined`: it cannot be read. */
function readName(message: Buffer, at: number): { readonly text: string; readonly end: number } | undefined {
  try {
    const text = reader.decode(message, at).toLowerCase();
    if (text === ".") return { text: "", end: at + reader.decode.bytes };
    const labels = text.split(".");
    return labels.length === labelCount(message, at) && labels.every((label) => /^[a-z0-9_-]+$/.test(label))
      ? { text, end: at + reader.decode.bytes }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Of a name that was read: a dot may stand inside of one. */
function labelCount(message: Buffer, from: number): number {
  let count = 0;
  for (let at = from; message[at] !== 0;) {
    const length = message[at] ?? 0;
    if (length >= 0xc0) {
      at = message.readUInt16BE(at) & 0x3fff;
    } else {
      count++;
      at += length + 1;
    }
  }
  return count;
}

export function readAnswer(whole: Buffer, asked: Question): Taught {
  const message = whole.subarray(0, mostBytes);
  const nothing = (event: Taught["event"]): Taught => ({ addresses: [], event });
  if (message.length < 12) return nothing("unreadable");
  const flags = message.readUInt16BE(2);
  if (message.readUInt16BE(4) !== 1 || (flags & 0x7800) !== 0) return nothing("unreadable");
  const question = readName(message, 12);
  if (question === undefined || question.end + 4 > message.length) return nothing("unreadable");
  if (message.readUInt16BE(question.end + 2) !== 1) return nothing("unreadable");
  const isAnswer =
    message.readUInt16BE(0) === asked.id &&
    (flags & 0x8000) !== 0 &&
    question.text === asked.name &&
    message.readUInt16BE(question.end) === asked.type;
  if (!isAnswer) return nothing("unasked");
  if ((flags & 0x0200) !== 0) return nothing("cut");
  if ((flags & 15) !== 0) return nothing(undefined);
  const addresses: Uint8Array[] = [];
  let owner = question.text;
  let at = question.end + 4;
  const count = message.readUInt16BE(6);
  for (let record = 0; record < Math.min(mostRecords, count); record++) {
    const named = readName(message, at);
    if (named === undefined || named.end + 10 > message.length) return { addresses, event: "unreadable" };
    const type = message.readUInt16BE(named.end);
    const data = named.end + 10;
    at = data + message.readUInt16BE(named.end + 8);
    if (at > message.length) return { addresses, event: "unreadable" };
    if (named.text !== owner || message.readUInt16BE(named.end + 2) !== 1) continue;
    if (type === types.CNAME) {
      const target = readName(message, data);
      if (target?.end !== at) return { addresses, event: "unreadable" };
      owner = target.text;
    } else if (type === asked.type && at - data === (type === types.A ? 4 : 16)) {
      addresses.push(message.subarray(data, at));
    }
  }
  return { addresses, event: count > mostRecords ? "unreadable" : undefined };
}
