import assert from "node:assert/strict";
import { test } from "node:test";
import { BpfError } from "./binding.ts";
import { kernelError, sourceLine } from "./kernel-error.ts";

const log = `0: R1=ctx() R10=fp0
; int drop(struct xdp_md *ctx) @ refused.bpf.c:12
0: (61) r2 = *(u32 *)(r1 +4)          ; R1=ctx() R2_w=pkt_end()
; return *data; @ refused.bpf.c:17
2: (71) r0 = *(u8 *)(r1 +0)
invalid access to packet, off=0 size=1, R1(id=0,off=0,r=0)
R1 offset is outside of the packet
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`;

function refused(details: Partial<ConstructorParameters<typeof BpfError>[1]>): BpfError {
  return new BpfError("load x: permission denied (EACCES)", {
    code: "verifier",
    errno: 13,
    errnoName: "EACCES",
    op: "load",
    verifierLog: log,
    warnings: "prog 'drop': failed",
    ...details,
  });
}

test("kernelError shows what the verifier said last, the line of C before it, and keeps the log", () => {
  const error = kernelError("load program p", refused({}));
  assert.equal(
    error.message,
    "load program p: the verifier refused it: R1 offset is outside of the packet; at refused.bpf.c:17: return *data; (EACCES)",
  );
  assert.equal(error.code, "verifier");
  assert.equal(error.retry, "when-changed");
  assert.equal(error.detail, `${log}\nprog 'drop': failed`);
});

test("kernelError says verb and object once, and the errno once", () => {
  const error = kernelError("remove map m", refused({ code: "not-permitted", verifierLog: "", warnings: "" }));
  assert.equal(error.message, "remove map m: permission denied (EACCES)");
  assert.equal(error.code, "no-permission");
  assert.equal(error.detail, undefined);
});

test("kernelError leaves errors of our own making as they are", () => {
  const own = new TypeError("a wrong argument");
  assert.throws(() => kernelError("x", own), own);
  const first = kernelError("load program p", refused({}));
  assert.equal(kernelError("apply", first), first);
});

test("sourceLine knows logs without file names, and without lines of C", () => {
  assert.equal(sourceLine("; return *data;\nbad", "bad"), "return *data;");
  assert.equal(sourceLine("0: (b7) r0 = 0\nbad", "bad"), undefined);
});
