import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { BytesPartSchema, decodeValue, encodeValue, type BytesPart } from "@bpfleet/wire";
import { largestDocumentBytes } from "./protocol.ts";

const partBytes = 128 * 1024;

/** A value in messages of limited size, at least one. */
export function* cutValue(value: unknown, session: string): Generator<BytesPart> {
  const bytes = encodeValue(value);
  for (let at = 0; at === 0 || at < bytes.length; at += partBytes)
    yield create(BytesPartSchema, { session, bytes: bytes.subarray(at, at + partBytes) });
}

/** The inverse of cutValue; `what` it is stands in the refusal of one that is too large. */
export async function readValue(
  what: string,
  parts: AsyncIterable<BytesPart>,
  check: (session: string) => void,
): Promise<unknown> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const { session, bytes } of parts) {
    check(session);
    sizeBytes += bytes.length;
    if (sizeBytes > largestDocumentBytes)
      throw new ConnectError(
        `read ${what}: ${sizeBytes} bytes and more, where at most ${largestDocumentBytes} cross between agent and daemon; declare less for this node`,
        Code.ResourceExhausted,
      );
    pieces.push(bytes);
  }
  return decodeValue(Buffer.concat(pieces));
}
