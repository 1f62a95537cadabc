import assert from "node:assert/strict";
import { it } from "node:test";
import { BpfError, decodeError, tellingLine } from "./bpf-error.ts";

const log = `0: R1=ctx() R10=fp0
; return data[100]; @ refused.bpf.c:12
1: (71) r0 = *(u8 *)(r1 +100)
invalid access to packet, off=100 size=1, R1(id=0,off=100,r=0)
R1 offset is outside of the packet
verification time 41 usec
stack depth 0
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`;

/** As the addon writes it: tag, op, object, errno, hint, text, warnings, log. */
function coded(...parts: readonly string[]): Error {
  return new Error(["bpfleet", ...parts].join("\u001f"));
}

it("tellingLine is the last line that is neither code nor statistics", () => {
  assert.equal(tellingLine(log), "R1 offset is outside of the packet");
  assert.equal(tellingLine(""), "");
  assert.equal(tellingLine("processed 1 insns (limit 1000000)"), "");
});

it("decodeError tells what the kernel said, in one line", () => {
  const refused = decodeError(coded("load", "program p", "13", "", "Permission denied", "libbpf's words", log));
  assert.ok(refused instanceof BpfError);
  assert.equal(refused.message, "load program p: the verifier refused it: R1 offset is outside of the packet (EACCES)");
  const { code, errno, op, verifierLog, warnings } = refused;
  assert.deepEqual([code, errno, op, verifierLog, warnings], ["verifier", 13, "load", log, "libbpf's words"]);

  const gone = decodeError(coded("open", "map /x", "2", "", "No such file or directory", "", ""));
  assert.ok(gone instanceof BpfError);
  assert.equal(gone.message, "open map /x: no such file or directory (ENOENT)");
  assert.equal(gone.code, "not-found");
});

it("decodeError prefers libbpf's reason to an errno that may mean anything", () => {
  const warnings = "extern 'CONFIG_NO_SUCH' (strong): not resolved\nfailed to load object 'x'\n";
  const vague = decodeError(coded("load", "object x", "3", "", "No such process", warnings, ""));
  assert.ok(vague instanceof BpfError);
  assert.equal(vague.message, "load object x: extern 'CONFIG_NO_SUCH' (strong): not resolved (ESRCH)");
  const plain = decodeError(coded("load", "object x", "1", "", "Operation not permitted", "map 'm': failed", ""));
  assert.ok(plain instanceof BpfError);
  assert.equal(plain.message, "load object x: operation not permitted (EPERM)");
});

it("decodeError gives misuse and strange errors their own classes", () => {
  const range = decodeError(coded("read", "map m", "22", "range", "the key has 3 bytes, not 4", "", ""));
  assert.ok(range instanceof RangeError);
  const unknown = decodeError(coded("open", "link 1", "9999", "", "Unknown error", "", ""));
  assert.ok(unknown instanceof BpfError && unknown.code === "other" && unknown.errnoName === "errno 9999");
  assert.ok(decodeError(Object.assign(new Error("x"), { code: "NumberExpected" })) instanceof TypeError);
  const other = new Error("something else");
  assert.equal(decodeError(other), other);
});
