import assert from "node:assert/strict";
import { test } from "node:test";
import { explainRefusal } from "./explain-refusal.ts";
import { helperOf, youngest } from "./oldest-kernels.ts";

const logs: readonly (readonly [line: string, cause: RegExp])[] = [
  ["invalid access to packet, off=100 size=1, R1(id=0,off=100,r=0)", /reads the packet behind/],
  ["R0 invalid mem access 'map_value_or_null'", /may be NULL/],
  ["R1 invalid mem access 'scalar'", /number is used as a pointer/],
  ["R1 invalid mem access 'inv'", /number is used as a pointer/],
  ["R0 !read_ok", /without a return value/],
  ["R3 !read_ok", /never written/],
  ["back-edge from insn 7 to 3", /loop has no end/],
  ["infinite loop detected at insn 4", /loop has no end/],
  ["BPF program is too large. Processed 1000001 insn", /more instructions than/],
  ["combined stack size of 2 calls is 544. Too large", /stack of 512 bytes/],
  ["invalid func unknown#195896080", /CO-RE looked for/],
  ["program of this type cannot use helper bpf_redirect#23", /helper is called that this kernel/],
  ["cannot call GPL-restricted function from non-GPL compatible program", /under the GPL only/],
  ["calling kernel function bpf_xdp_ct_lookup is not allowed", /function of the kernel/],
  ["R1 unbounded memory access, make sure to bounds check any such access", /not bounded/],
  ["invalid access to map value, value_size=4 off=4 size=4", /not bounded/],
  ["invalid bpf_context access off=8 size=8", /field of the context/],
  ["Unreleased reference id=2 alloc_insn=9", /not given back/],
  ["misaligned packet access off 0+2+3 size 4", /multiple of its size/],
  ["unreachable insn 5", /no path reaches/],
  ["R2 type=scalar expected=fp, pkt, map_value", /argument of a call/],
];

for (const [line, cause] of logs) {
  test(`explainRefusal knows the cause of: ${line}`, () => {
    const log = `0: R1=ctx() R10=fp0\n; return data[100]; @ x.bpf.c:12\n0: (61) r1 = *(u32 *)(r1 +0)\n1: (71) r0 = *(u8 *)(r1 +100)\n${line}\nprocessed 2 insns (limit 1000000) max_states_per_insn 0\n`;
    const refusal = explainRefusal(log);
    assert.match(refusal.cause ?? "", cause);
    assert.equal(refusal.telling, line);
    assert.equal(refusal.instruction, "1: (71) r0 = *(u8 *)(r1 +100)");
    assert.equal(refusal.source, "x.bpf.c:12: return data[100];");
  });
}

test("helperOf names helpers and the oldest Linux that has them", () => {
  assert.deepEqual(helperOf(1), { name: "bpf_map_lookup_elem", since: "3.19" });
  assert.deepEqual(helperOf(44), { name: "bpf_xdp_adjust_head", since: "4.10" });
  assert.deepEqual(helperOf(132), { name: "bpf_ringbuf_submit", since: "5.8" });
  assert.deepEqual(helperOf(181), { name: "bpf_loop", since: "5.17" });
  assert.deepEqual(helperOf(211), { name: "bpf_cgrp_storage_delete", since: "6.2" });
  assert.deepEqual(helperOf(999), { name: "helper #999", since: undefined });
  assert.equal(youngest("5.10", "5.9"), "5.10");
});
