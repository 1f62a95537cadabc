import { readFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";
import { layouts, type Layout } from "../layout.ts";

/** Encoding and decoding by another implementation, from the .proto files of one layout. */
export interface BpfdProto {
  encode(message: string, value: object): Buffer;
  decode(message: string, bytes: Uint8Array): Record<string, unknown>;
}

function load(layout: Layout): BpfdProto {
  const text = readFileSync(join(import.meta.dirname, `../../testdata/${layout}.proto`), "utf8");
  const { root } = protobuf.parse(text, { keepCase: true });
  const find = (message: string) => root.lookupType(`bpfd.v1.${message}`);
  return {
    encode(message, value) {
      const type = find(message);
      return Buffer.from(type.encode(type.fromObject(value)).finish());
    },
    decode(message, bytes) {
      const type = find(message);
      return type.toObject(type.decode(bytes), { enums: String, longs: Number });
    },
  };
}

export const bpfdProtos = Object.fromEntries(layouts.map((layout) => [layout, load(layout)])) as Readonly<
  Record<Layout, BpfdProto>
>;
