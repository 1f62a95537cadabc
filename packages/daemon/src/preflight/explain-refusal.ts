import { sourceLine, tellingLine } from "@bpfleet/native";

/** Why the verifier refused a program, for people. */
export interface Refusal {
  /** The line of the log that says it. */
  readonly telling: string;
  /** The instruction that it was at: `12: (71) r0 = *(u8 *)(r1 +100)`. */
  readonly instruction?: string | undefined;
  /** The line of C that this came from, when the object carries lines. */
  readonly source?: string | undefined;
  readonly cause?: string | undefined;
  readonly help?: string | undefined;
}

interface KnownCause {
  readonly pattern: RegExp;
  readonly cause: string;
  readonly help: string;
}

/** The first that fits counts. */
const knownCauses: readonly KnownCause[] = [
  {
    pattern: /invalid access to packet|R\d+ offset is outside of the packet/,
    cause: "it reads the packet behind what was compared with data_end",
    help: "compare before the access: if (data + offset + size > data_end) return XDP_PASS; and use the very pointer that was compared",
  },
  {
    pattern:
      /invalid mem access '[a-z_]*(?:map_value|mem|sock|ptr)_?[a-z_]*_or_null'|invalid mem access 'map_value_or_null'/,
    cause: "a pointer that may be NULL is used: what a map lookup or another helper gave was not compared with NULL",
    help: "write if (!value) return …; right behind the call",
  },
  {
    pattern: /invalid mem access '(?:inv|scalar)'/,
    cause:
      "a number is used as a pointer: a pointer was computed in a way that the verifier does not follow, or memory of the kernel is read directly",
    help: "keep the pointer's type (no casts through integers), and read memory of the kernel with bpf_probe_read_kernel or BPF_CORE_READ",
  },
  {
    pattern: /R0 !read_ok/,
    cause: "the program or one of its functions ends without a return value",
    help: "return a verdict on every path",
  },
  {
    pattern: /R\d+ !read_ok/,
    cause: "a register is read that was never written, or that a call has clobbered",
    help: "initialise the variable, and keep what is needed after a call in a variable of its own",
  },
  {
    pattern: /back-edge from insn|infinite loop detected|loop is not bounded/,
    cause: "a loop has no end that the verifier can see",
    help: "bound the loop by a constant (for (i = 0; i < 16; i++)), unroll it, or use bpf_loop (Linux 5.17)",
  },
  {
    pattern:
      /BPF program is too large|processed \d+ insns .*too (?:large|complex)|The sequence of \d+ jumps is too complex/,
    cause: "following all paths takes more instructions than the kernel allows",
    help: "bound loops more tightly, move parts into global functions, which are verified by themselves, or split it with tail calls",
  },
  {
    pattern:
      /combined stack size|stack depth|exceeds? (?:512|MAX_BPF_STACK)|invalid (?:write to|read from|indirect|unbounded variable-offset .*) ?stack|looks like the BPF stack limit/i,
    cause: "the stack of 512 bytes is left, or bytes of it are read that were never written",
    help: "put large variables into a per-CPU array, and zero structs with __builtin_memset before their bytes are handed out",
  },
  {
    pattern: /invalid func unknown#195896080|invalid CO-RE relocation/,
    cause: "a field or type that CO-RE looked for is not in this kernel",
    help: "ask first with bpf_core_field_exists() or bpf_core_type_exists()",
  },
  {
    pattern: /unknown func|invalid func unknown|program of this type cannot use helper|helper call is not allowed/,
    cause: "a helper is called that this kernel, or this type of program, does not have",
    help: "the list of features names the oldest kernel of each helper; use another one or another type of program",
  },
  {
    pattern: /cannot call GPL-restricted function|GPL compatible/,
    cause: "a helper is for programs under the GPL only",
    help: 'declare it, if that is its licence: char LICENSE[] SEC("license") = "GPL";',
  },
  {
    pattern: /calling kernel function .* is not allowed|kernel function .* not (?:found|allowed)/,
    cause: "a function of the kernel is called that this type of program may not call, or that this kernel lacks",
    help: "check which program types the function is registered for, and from which kernel on",
  },
  {
    pattern:
      /invalid access to map value|min value is (?:negative|outside)|max value is outside of the (?:allowed memory range|array range)|unbounded min value|unbounded memory access/,
    cause: "an index or a length is not bounded: it may point outside of the value",
    help: "compare with both bounds, or mask the index (index &= SIZE - 1), right before the access, and make it unsigned",
  },
  {
    pattern: /invalid bpf_context access/,
    cause: "a field of the context is read or written that this type of program may not touch, or with the wrong size",
    help: "see which fields of struct xdp_md, __sk_buff … the type allows, and read them whole",
  },
  {
    pattern: /Unreleased reference|reference .* (?:leak|has not been)/,
    cause: "something that a helper handed out (a socket, a ring buffer record) is not given back on every path",
    help: "release, submit or discard it before every return",
  },
  {
    pattern: /misaligned (?:packet|stack|value|access)/,
    cause: "a field is read at an address that is not a multiple of its size",
    help: "copy it with __builtin_memcpy, or align the struct",
  },
  {
    pattern: /unreachable insn/,
    cause: "there are instructions that no path reaches",
    help: "remove the code, and compile with -O2",
  },
  {
    pattern: /(?:At program exit|At subprogram exit) the register R0|R0 has .*should have been in/,
    cause: "a return value is outside of what this type of program may return",
    help: "return one of the verdicts of the type",
  },
  {
    pattern: /R\d+ type=\S+ expected=/,
    cause: "an argument of a call has the wrong type",
    help: "compare with the helper's prototype: pointers must lead to the stack, a map value or the packet, as it says",
  },
];

export function explainRefusal(log: string): Refusal {
  const telling = tellingLine(log);
  const lines = log.split("\n").map((line) => line.trim());
  const end = lines.lastIndexOf(telling);
  const instruction = lines
    .slice(0, end < 0 ? lines.length : end)
    .findLast((line) => /^\d+: \([0-9a-f]{2}\) /.test(line));
  const known =
    knownCauses.find(({ pattern }) => pattern.test(telling)) ?? knownCauses.find(({ pattern }) => pattern.test(log));
  return { telling, instruction, source: sourceLine(log, telling), cause: known?.cause, help: known?.help };
}
