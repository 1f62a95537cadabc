import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RegistryBench, registryAbsence, RegistryProcess, registryUser } from "@bpfleet/oci/testing";
import { CommandBench } from "../testing/run-command.ts";

const root = join(import.meta.dirname, "../../../..");
const directory = mkdtempSync(join(tmpdir(), "ebpfctl-preflight-"));
const skip = registryAbsence() ?? false;
after(() => rmSync(directory, { recursive: true }));

function compile(name: string, source: string): string {
  const [file, object] = [join(directory, `${name}.bpf.c`), join(directory, `${name}.o`)];
  writeFileSync(
    file,
    `#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_core_read.h>\n${source}\nchar LICENSE[] SEC("license") = "GPL";\n`,
  );
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  const includes = [`-I${join(root, "build/include")}`, `-I/usr/include/${machine}-linux-gnu`];
  execFileSync("clang", ["-O2", "-g", "-target", "bpf", ...includes, "-c", file, "-o", object]);
  return object;
}

test("preflight says yes of an object that loads, with what it asks for", async () => {
  using bench = new CommandBench();
  const object = compile(
    "passing",
    'struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 8); __type(key, __u32); __type(value, __u64); } seen SEC(".maps");\nSEC("xdp/pass") int pass(struct xdp_md *ctx) { __u32 key = 1; return bpf_map_lookup_elem(&seen, &key) ? XDP_DROP : XDP_PASS; }',
  );
  const { exitCode, out } = await bench.run(["preflight", object, "--program", "pass"]);
  assert.equal(exitCode, 0);
  assert.match(out, /^yes: .*passing\.o loads on this kernel\n {2}yes {2}pass \(xdp, section xdp\/pass\)$/m);
  assert.match(out, /^license: GPL; needs Linux 4\.18 or newer$/m);
  assert.match(out, /^map type +lru_hash +4\.10 +seen$/m);
  assert.match(out, /^helper +bpf_map_lookup_elem +3\.19 +pass$/m);
  assert.match(out, /^program type +xdp +4\.8 +pass$/m);
});

test("preflight says of a file that is no object which one it is", async () => {
  using bench = new CommandBench();
  const file = join(directory, "notes.txt");
  writeFileSync(file, "not an object\n");
  const { exitCode, err } = await bench.run(["preflight", file]);
  assert.equal(exitCode, 1);
  assert.match(err, /^error: read \S+notes\.txt: .*'notes\.txt' is not a proper ELF object/);
  assert.doesNotMatch(err, /object object|'object'/);
});

test("preflight takes what image build wrote", async () => {
  using bench = new CommandBench();
  const object = compile("boxed", 'SEC("xdp/pass") int pass(struct xdp_md *ctx) { return XDP_PASS; }');
  const image = join(directory, "boxed.tar");
  assert.equal((await bench.run(["image", "build", object, "-o", image])).exitCode, 0);
  const { exitCode, out, err } = await bench.run(["preflight", image]);
  assert.equal(exitCode, 0, err);
  assert.match(out, /^ {2}yes {2}pass \(xdp, section xdp\/pass\)$/m);
});

test("preflight explains what the verifier refuses: instruction, line of C, cause and help", async () => {
  using bench = new CommandBench();
  const object = compile(
    "refused",
    'SEC("xdp") int unchecked(struct xdp_md *ctx) {\n  __u8 *data = (void *)(long)ctx->data;\n  return data[100] ? XDP_PASS : XDP_DROP;\n}\nSEC("xdp") int harmless(struct xdp_md *ctx) { return XDP_PASS; }',
  );
  const { exitCode, out } = await bench.run(["preflight", object]);
  assert.equal(exitCode, 3);
  assert.match(out, /^no: .*refused\.o does not load on this kernel\n {2}no {3}unchecked /m);
  assert.match(out, /^ {7}instruction: \d+: \(71\) r\d = \*\(u8 \*\)\(r\d \+100\)$/m);
  assert.match(out, /^ {7}source: .*refused\.bpf\.c:6: return data\[100\] \? XDP_PASS : XDP_DROP;$/m);
  assert.match(out, /^ {7}cause: it reads the packet behind what was compared with data_end$/m);
  assert.match(out, /^ {7}help: compare before the access: /m);
  assert.match(out, /^ {2}yes {2}harmless /m);
  assert.equal((await bench.run(["preflight", object, "--program", "harmless"])).exitCode, 0);
  const json = JSON.parse((await bench.run(["preflight", object, "-o", "json"])).out) as {
    programs: { loads: boolean }[];
  };
  assert.deepEqual(
    json.programs.map(({ loads }) => loads),
    [false, true],
  );
});

test("preflight checks relocations against the types of other kernels", async () => {
  using bench = new CommandBench();
  const object = compile(
    "relocated",
    'struct task_struct { int pid; int never_there; } __attribute__((preserve_access_index));\nint seen = 0;\nSEC("raw_tp/sys_enter") int on_enter(void *ctx) {\n  struct task_struct *task = (void *)bpf_get_current_task();\n  seen = bpf_core_field_exists(task->never_there) ? BPF_CORE_READ(task, never_there) : BPF_CORE_READ(task, pid);\n  return 0;\n}',
  );
  const { exitCode, out } = await bench.run([
    "preflight",
    object,
    "--kernel-btf",
    "/sys/kernel/btf/vmlinux",
    "--kernel-btf",
    "missing.btf",
  ]);
  assert.equal(exitCode, 0, out);
  assert.match(out, /^other +CO-RE \(\d+ relocations\), with BTF of the kernel +5\.4$/m);
  assert.match(out, /^against \/sys\/kernel\/btf\/vmlinux\n {2}\? {4}on_enter: \d+ instructions? /m);
  assert.match(out, /^against DIR\/missing\.btf\n {2}no {3}on_enter: .*ENOENT/m);
});

test("preflight checks against a directory of kernels, and tells of each", async () => {
  using bench = new CommandBench();
  const object = compile(
    "named",
    'struct task_struct { int pid; } __attribute__((preserve_access_index));\nint seen = 0;\nSEC("raw_tp/sys_enter") int on_enter(void *ctx) {\n  seen = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), pid);\n  return 0;\n}',
  );
  const kernels = join(directory, "kernels");
  mkdirSync(join(kernels, "old"), { recursive: true });
  // The BTF of an object stands for that of a kernel: it has a struct of the name.
  for (const [name, field] of [
    ["5.4.btf", "pid"],
    ["old/4.18.btf", "tgid"],
  ] as const) {
    const types = compile(
      `kernel-${field}`,
      `struct task_struct { int first; int ${field}; } task;\nSEC("xdp") int pass(struct xdp_md *ctx) { return task.${field}; }`,
    );
    execFileSync("llvm-objcopy", ["--dump-section", `.BTF=${join(kernels, name)}`, types]);
  }
  writeFileSync(join(kernels, "notes"), "no BTF");
  const { exitCode, out } = await bench.run(["preflight", object, "--kernel-btf", kernels]);
  assert.equal(exitCode, 0, out);
  assert.match(out, /^against .*\/5\.4\.btf\n {2}yes {2}on_enter: every relocation is found$/m);
  assert.match(out, /^against .*\/notes\n {2}no {3}on_enter: /m);
  assert.match(out, /^against .*\/old\/4\.18\.btf\n {2}\? {4}on_enter: \d+ instructions? /m);
  mkdirSync(join(directory, "empty"));
  const empty = await bench.run(["preflight", object, "--kernel-btf", join(directory, "empty")]);
  assert.match(empty.err, /there are no files with BTF in it/);
});

test("preflight takes an image of a registry, with a password where that asks for one", { skip }, async () => {
  using bench = new CommandBench();
  using registries = new RegistryBench();
  await using registry = await RegistryProcess.start(join(registries.directory, "basic"), registries.tls, "basic");
  registries.mirror("registry.example", [`https://${registry.host}`]);
  const object = compile("pulled", 'SEC("xdp/pass") int pass(struct xdp_md *ctx) { return XDP_PASS; }');
  const name = "registry.example/bpfd-bytecode/pulled:1";
  const write = (file: string, password: string): string => {
    const auth = Buffer.from(`${registryUser.username}:${password}`).toString("base64");
    const path = join(bench.directory, file);
    writeFileSync(path, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    return path;
  };
  const right = write("right.json", registryUser.password);
  const mirrors = ["--mirrors", registries.mirrors];
  const image = join(directory, "pulled.tar");
  assert.equal((await bench.run(["image", "build", object, "-o", image])).exitCode, 0);
  const pushed = await bench.run(["image", "push", image, name, ...mirrors, "--authfile", right]);
  assert.equal(pushed.exitCode, 0, pushed.err);
  const { exitCode, out, err } = await bench.run(["preflight", name, ...mirrors, "--authfile", right]);
  assert.equal(exitCode, 0, err);
  assert.match(out, /^yes: registry\.example\/.*:1 loads on this kernel\n {2}yes {2}pass \(xdp, section xdp\/pass\)$/m);
  const anonymous = await bench.run(["preflight", name, ...mirrors]);
  assert.equal(anonymous.exitCode, 1);
  assert.match(anonymous.err, /pulled from .*: 401 UNAUTHORIZED .*give a pull secret/);
  const wrong = await bench.run(["preflight", name, ...mirrors, "--authfile", write("wrong.json", "no")]);
  assert.equal(wrong.exitCode, 1);
  assert.doesNotMatch(wrong.err, /opensesame|bm8=/);
  const missing = await bench.run(["preflight", name.replace("pulled", "nosuch"), ...mirrors, "--authfile", right]);
  assert.equal(missing.exitCode, 1);
  assert.match(missing.err, /nosuch/);
});

test("preflight says how to rebuild what cannot be read", async () => {
  using bench = new CommandBench();
  const object = compile(
    "legacy",
    'struct bpf_map_def { unsigned int type, key_size, value_size, max_entries, map_flags; };\nstruct bpf_map_def SEC("maps") old = { .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1 };\nSEC("xdp") int pass(struct xdp_md *ctx) { __u32 key = 0; return bpf_map_lookup_elem(&old, &key) ? XDP_DROP : XDP_PASS; }',
  );
  const legacy = await bench.run(["preflight", object]);
  assert.equal(legacy.exitCode, 1);
  assert.match(legacy.err, /it defines maps by SEC\("maps"\).*compile with clang -g/);
  const text = join(directory, "text.o");
  writeFileSync(text, "this is no object");
  assert.equal((await bench.run(["preflight", text])).exitCode, 1);
  const missing = await bench.run(["preflight", "missing.o"]);
  assert.equal(missing.err, "error: read object missing.o: ENOENT; give a file, or an image as host/repository:tag\n");
});
