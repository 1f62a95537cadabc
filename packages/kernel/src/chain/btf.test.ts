import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeUtf8 } from "@bpfleet/base";
import { encodeFuncInfo, synthesiseBtf } from "./btf.ts";

interface Type {
  readonly name: string;
  readonly kind: number;
  readonly vlen: number;
  readonly sizeOrType: number;
  readonly rest: readonly number[];
}

/** Words that follow a type of each kind that main's BTF has, by the format's documentation. */
const trailing: Record<number, (vlen: number) => number> = {
  1: () => 1,
  2: () => 0,
  4: (vlen) => vlen * 3,
  12: () => 0,
  13: (vlen) => vlen * 2,
};

function decode(bytes: Uint8Array): { types: Type[]; strings: Uint8Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number): number => view.getUint32(at, true);
  assert.equal(view.getUint16(0, true), 0xeb9f);
  assert.equal(view.getUint8(2), 1);
  const [header, typeOff, typeLen, strOff, strLen] = [4, 8, 12, 16, 20].map(word) as [
    number,
    number,
    number,
    number,
    number,
  ];
  assert.equal(header, 24);
  assert.equal(header + strOff + strLen, bytes.length, "strings end the blob");
  const strings = bytes.subarray(header + strOff);
  const types: Type[] = [];
  for (let at = header + typeOff; at < header + typeOff + typeLen;) {
    const info = word(at + 4);
    const kind = (info >>> 24) & 0x1f;
    const count = trailing[kind]?.(info & 0xffff);
    assert.ok(count !== undefined, `kind ${kind}`);
    types.push({
      name: text(strings, word(at)),
      kind,
      vlen: info & 0xffff,
      sizeOrType: word(at + 8),
      rest: Array.from({ length: count }, (_, index) => word(at + 12 + index * 4)),
    });
    at += 12 + count * 4;
  }
  return { types, strings };
}

function text(strings: Uint8Array, at: number): string {
  return decodeUtf8(strings.subarray(at, strings.indexOf(0, at)));
}

test("synthesiseBtf declares every function global, with a pointer to the hook's context", () => {
  const btf = synthesiseBtf("xdp_md", ["b0123456789abcd", "stub_0", "stub_12"]);
  const { types, strings } = decode(btf.bytes);
  const byId = (id: number): Type => types[id - 1] as Type;
  assert.equal(strings[0], 0);
  for (const [index, name] of ["b0123456789abcd", "stub_0", "stub_12"].entries()) {
    const func = byId(btf.functionIds[index] as number);
    assert.deepEqual({ name: func.name, kind: func.kind, linkage: func.vlen }, { name, kind: 12, linkage: 1 });
    const proto = byId(func.sizeOrType);
    assert.equal(proto.kind, 13);
    assert.equal(proto.vlen, 1);
    assert.deepEqual(byId(proto.sizeOrType), { name: "int", kind: 1, vlen: 0, sizeOrType: 4, rest: [(1 << 24) | 32] });
    const [parameter, type] = proto.rest as [number, number];
    assert.equal(text(strings, parameter), "ctx");
    assert.equal(byId(type).kind, 2);
    const context = byId(byId(type).sizeOrType);
    assert.deepEqual({ kind: context.kind, name: context.name }, { kind: 4, name: "xdp_md" });
  }
});

test("encodeFuncInfo packs start and type of each function", () => {
  assert.deepEqual(
    new Uint32Array(
      encodeFuncInfo([
        { start: 0, typeId: 5 },
        { start: 70, typeId: 6 },
      ]).buffer,
    ),
    new Uint32Array([0, 5, 70, 6]),
  );
});
