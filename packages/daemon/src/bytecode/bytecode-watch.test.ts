import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ImageError } from "@bpfleet/base";
import { renderSource, type BytecodeFacts, type BytecodeSource } from "@bpfleet/kernel";
import { digestOf, type Bytecode, type FetchRequest } from "@bpfleet/oci";
import { BytecodeWatch, type BytecodeWatchOptions } from "./bytecode-watch.ts";
import { readObject } from "./read-object.ts";

const dir = mkdtempSync(join(tmpdir(), "bpfleet-bytecode-"));
after(() => rmSync(dir, { recursive: true, force: true }));

const sources = new URL("../../../features/src/bytecode/testdata/", import.meta.url).pathname;
const headers = new URL("../../../../build/include", import.meta.url).pathname;

function compile(name: string, ...flags: string[]): Buffer {
  const object = join(dir, `${name}${flags.join("")}.o`);
  const multiarch = `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const input = join(sources, `${name}.bpf.c`);
  execFileSync("clang", [
    "-target",
    "bpf",
    "-O2",
    "-g",
    `-I${headers}`,
    multiarch,
    ...flags,
    "-c",
    input,
    "-o",
    object,
  ]);
  return readFileSync(object);
}

const counter = compile("counter");

test("readObject reads programs, maps with layouts, and variables with types", async () => {
  const facts = await readObject(counter, "counter.o");
  assert.deepEqual(
    facts.programs.map(({ entry, section, type }) => [entry, section, type]),
    [
      ["pass_xdp", "xdp/pass", undefined],
      ["pass_tc", "classifier/pass", undefined],
      ["pass_skb", "cgroup_skb/egress", "cgroup_skb"],
      ["count_calls", "raw_tp/sys_enter", "raw_tracepoint"],
    ],
  );
  assert.deepEqual(
    facts.maps.map(({ name, definition, keyType, valueType }) => ({ name, definition, keyType, valueType })),
    [
      {
        name: "stats",
        definition: { type: "array", keySize: 4, valueSize: 16, maxEntries: 2, flags: 0 },
        keyType: "__u32",
        valueType: "struct record { __u64 packets; __u64 bytes; }",
      },
    ],
  );
  const shapes = Object.fromEntries(facts.globals.map(({ name, shape, type }) => [name, [type, shape]]));
  assert.deepEqual(shapes["verdict"], ["__u32", { is: "int", sizeBytes: 4, isSigned: false }]);
  assert.deepEqual(shapes["label"], ["char[16]", { is: "array", count: 16, of: { is: "char" } }]);
  assert.deepEqual(shapes["is_counting"]?.[1], { is: "bool" });
  assert.deepEqual(shapes["mode"]?.[1], { is: "enum", sizeBytes: 4, names: { MODE_OFF: "0", MODE_ON: "1" } });
  assert.equal(facts.license, "GPL");
  const wide = await readObject(compile("counter", "-DWIDE"), "wide.o");
  assert.notEqual(wide.maps[0]?.layout, facts.maps[0]?.layout);
  assert.equal((await readObject(compile("counter", "-DBROKEN"), "x.o")).maps[0]?.layout, facts.maps[0]?.layout);
});

test("readObject says what to write in place of a map of the old kind, and refuses what is no object", async () => {
  await assert.rejects(readObject(compile("legacy"), "legacy.o"), {
    name: "KernelError",
    code: "invalid",
    message:
      /map stats: struct \{ __uint\(type, BPF_MAP_TYPE_PERCPU_ARRAY\); __uint\(key_size, 4\); __uint\(value_size, 16\); __uint\(max_entries, 5\); \} stats SEC\("\.maps"\);$/,
  });
  await assert.rejects(readObject(Buffer.from("not an object"), "text.o"), { code: "not-elf" });
  await assert.rejects(readObject(counter.subarray(0, 200), "cut.o"), { code: "not-elf" });
});

async function watching(
  more: Partial<BytecodeWatchOptions> = {},
): Promise<{ watch: BytecodeWatch; until: (state: string) => Promise<BytecodeFacts> }> {
  const waiting = new Set<() => void>();
  const watch = new BytecodeWatch({
    store: mkdtempSync(join(dir, "store-")),
    pollMs: 10,
    retry: { firstMs: 20, longestMs: 40 },
    onChange: () => waiting.forEach((wake) => wake()),
    onTrouble: (error) => assert.fail(String(error)),
    ...more,
  });
  const until = async (state: string): Promise<BytecodeFacts> => {
    for (;;) {
      const found = Object.values(watch.facts()).find((facts) => facts.state === state);
      if (found !== undefined) return found;
      await new Promise<void>((wake) => waiting.add(wake));
    }
  };
  return { watch, until };
}

test("BytecodeWatch tells how far a fetch that hangs has come, and again as time goes on", async () => {
  let progress: FetchRequest["onProgress"];
  const { watch } = await watching({
    slowMs: 100,
    fetch: ({ onProgress, signal }) => {
      progress = onProgress;
      return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
    },
  });
  await using _ = watch;
  const told = async (form: RegExp): Promise<void> => {
    for (;;) {
      const [found] = Object.values(watch.facts());
      if (found?.state === "fetching" && form.test(found.slow ?? "")) return;
      await new Promise<void>((wake) => setTimeout(wake, 5));
    }
  };
  watch.watch([{ from: "image", reference: "quay.io/a/b:c", pullPolicy: "Always" }], {});
  await told(/^still fetching quay\.io\/a\/b:c after 0\.1 s: nothing was answered yet$/);
  progress?.({ bytes: 1000, total: 65_536 });
  await told(/^still fetching quay\.io\/a\/b:c after 0\.[2-9] s: 1000 of 65536 bytes$/);
});

test("BytecodeWatch goes on when whom it tells throws", async () => {
  const troubles: unknown[] = [];
  const { watch } = await watching({
    onChange: () => {
      throw new Error("no ear");
    },
    onTrouble: (error) => void troubles.push(error),
  });
  await using _ = watch;
  const path = join(dir, "told.o");
  writeFileSync(path, "no object");
  watch.watch([{ from: "file", path }], {});
  while (troubles.length < 2) await new Promise<void>((wake) => setTimeout(wake, 5));
  assert.equal(Object.values(watch.facts())[0]?.state, "failed");
});

test("BytecodeWatch reads a file, hands its bytes out by digest, and reads it again when it changes", async () => {
  const path = join(dir, "watched.o");
  const { watch, until } = await watching();
  await using _ = watch;
  watch.watch([{ from: "file", path }], {});
  const missing = await until("failed");
  assert.ok(
    missing.state === "failed" && missing.message.startsWith(`read ${path}: ENOENT; `),
    JSON.stringify(missing),
  );
  writeFileSync(path, counter);
  const ready = await until("ready");
  assert.ok(ready.state === "ready");
  assert.deepEqual(await watch.load(`bytecode/${ready.objectDigest}`), new Uint8Array(counter));
  assert.equal(await watch.load(`bytecode/${"0".repeat(64)}`), undefined);
  assert.equal(await watch.load("filter"), undefined);
  writeFileSync(path, "broken");
  const failed = await until("failed");
  assert.ok(failed.state === "failed");
  assert.equal(failed.reason, "NotAnObject");
  assert.equal(failed.earlier?.objectDigest, ready.objectDigest, "what was ready goes on");
  watch.watch([], {});
  assert.deepEqual(watch.facts(), {});
});

test("BytecodeWatch tries an image again, at once with another secret, and keeps what the policy still takes", async () => {
  const source: BytecodeSource = {
    from: "image",
    reference: "example.test/x:1",
    pullPolicy: "Always",
    pullSecret: "ns/s",
  };
  let answer: () => Bytecode = () => {
    throw new ImageError("pull example.test/x:1: the registry says 401", {
      code: "unauthorized",
      retry: "when-changed",
    });
  };
  const asked: FetchRequest[] = [];
  const { watch, until } = await watching({
    retry: { firstMs: 60_000, longestMs: 60_000 },
    fetch: async (request) => {
      asked.push(request);
      return answer();
    },
  });
  await using _ = watch;
  watch.watch([source], {});
  assert.equal(watch.facts()[renderSource(source)]?.state, "fetching");
  const failed = await until("failed");
  assert.ok(failed.state === "failed" && failed.reason === "Unauthorized" && failed.earlier === undefined);
  assert.equal(asked.length, 1);
  answer = () => ({
    reference: source.reference,
    digest: digestOf(Buffer.from("manifest")),
    objectDigest: digestOf(counter),
    bytes: counter,
    labels: { all: { "io.ebpf.section_name": "pass" } },
    signature: { state: "verified", by: { kind: "key", name: "release", fingerprint: "f" }, format: "bundle" },
    warnings: [],
    from: "registry",
  });
  const auth = Buffer.from(JSON.stringify({ auths: { "example.test": { username: "u", password: "p" } } }));
  watch.watch([source], { "ns/s": { ".dockerconfigjson": auth.toString("base64") } });
  const ready = await until("ready");
  assert.ok(
    ready.state === "ready" && ready.signature === "key release" && ready.labels["io.ebpf.section_name"] === "pass",
  );
  assert.equal(asked.at(-1)?.auth?.get("example.test")?.username, "u");
  assert.deepEqual(await watch.load(`bytecode/${ready.objectDigest}`), new Uint8Array(counter));
});

test("BytecodeWatch asks again by itself for what Always may have become, and for nothing else", async () => {
  const image = (pullPolicy: "Always" | "IfNotPresent", reference: string): BytecodeSource => ({
    from: "image",
    reference,
    pullPolicy,
  });
  const [always, present] = [image("Always", "example.test/x:1"), image("IfNotPresent", "example.test/y:1")];
  const pinned = image("Always", `example.test/x@sha256:${"0".repeat(64)}`);
  const asked: string[] = [];
  let isAway = false;
  const { watch } = await watching({
    checkMs: 20,
    fetch: async ({ reference }) => {
      asked.push(reference);
      const times = asked.filter((each) => each === reference).length;
      if (isAway) throw new ImageError(`pull ${reference}: ECONNREFUSED`, { code: "unreachable", retry: "backoff" });
      return {
        reference,
        digest: digestOf(Buffer.from(`manifest ${times > 2}`)),
        objectDigest: digestOf(counter),
        bytes: counter,
        labels: { all: {} },
        signature: { state: "not-checked", reason: "the policy is off" },
        warnings: [],
        from: "registry",
      };
    },
  });
  await using _ = watch;
  const seen = async (holds: (facts: BytecodeFacts | undefined) => boolean): Promise<void> => {
    for (let left = 500; left > 0 && !holds(watch.facts()[renderSource(always)]); left--)
      await new Promise((wake) => setTimeout(wake, 10));
    assert.ok(holds(watch.facts()[renderSource(always)]), JSON.stringify(watch.facts()));
  };
  watch.watch([always, present, pinned], {});
  const [first, later] = [false, true].map((isLater) => digestOf(Buffer.from(`manifest ${isLater}`)));
  await seen((facts) => facts?.state === "ready" && facts.imageDigest === first);
  await seen((facts) => facts?.state === "ready" && facts.imageDigest === later);
  isAway = true;
  await seen((facts) => facts?.state === "failed" && facts.earlier?.imageDigest === later);
  isAway = false;
  await seen((facts) => facts?.state === "ready");
  assert.deepEqual(
    asked.filter((reference) => reference !== "example.test/x:1"),
    ["example.test/y:1", pinned.from === "image" ? pinned.reference : ""],
  );
});

test("BytecodeWatch drops what the policy refuses after a change of the policy", async () => {
  const policy = join(dir, "policy.yaml");
  writeFileSync(policy, "apiVersion: bpfleet.io/v1alpha1\nkind: ImagePolicy\n");
  const source: BytecodeSource = { from: "image", reference: "example.test/x:1", pullPolicy: "IfNotPresent" };
  const { watch, until } = await watching({
    policy,
    fetch: async ({ policy: asked }) => {
      if (asked.rules.length > 0)
        throw new ImageError("use example.test/x:1: nobody signed it", {
          code: "signature-refused",
          retry: "when-changed",
        });
      return {
        reference: source.reference,
        digest: digestOf(Buffer.from("manifest")),
        objectDigest: digestOf(counter),
        bytes: counter,
        labels: { all: {} },
        signature: { state: "not-checked", reason: "the policy is off" },
        warnings: [],
        from: "store",
      };
    },
  });
  await using _ = watch;
  watch.watch([source], {});
  await until("ready");
  const next = `${policy}.next`;
  writeFileSync(
    next,
    "apiVersion: bpfleet.io/v1alpha1\nkind: ImagePolicy\nrules:\n  - images: [example.test/**]\n    mode: off\n",
  );
  renameSync(next, policy);
  const failed = await until("failed");
  assert.ok(failed.state === "failed");
  assert.deepEqual([failed.reason, failed.earlier], ["SignatureRefused", undefined]);
});
