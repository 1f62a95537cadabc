import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { digestOf } from "@bpfleet/oci";
import { launcher } from "./app-images.ts";
import { bundle } from "./bundle.ts";
import { buildLayer, composeImage, renderArchive } from "./image.ts";
import { renderLayer } from "./layer.ts";
import type { LayerEntry } from "./layer.ts";
import { chosenNames, fullName } from "./names.ts";
import { smallNode } from "./node-start.ts";

const long = `${"folder/".repeat(20)}file`;
const entries: readonly LayerEntry[] = [
  { kind: "file", path: "usr/bin/tool", mode: 0o755, owner: 65532, bytes: Buffer.from("tool\n") },
  { kind: "link", path: "usr/bin/other", target: "tool" },
  { kind: "folder", path: "tmp", mode: 0o1777 },
  { kind: "file", path: long, mode: 0o600, bytes: Buffer.from("x") },
];

function list(archive: Uint8Array): string[] {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-layer-"));
  try {
    const path = join(folder, "layer.tar");
    writeFileSync(path, archive);
    const text = execFileSync("tar", ["--utc", "--numeric-owner", "-tvf", path], { encoding: "utf8" });
    return text.trim().split("\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("renderLayer writes what tar reads, with the folders that lead to each file", () => {
  const lines = list(renderLayer(entries));
  assert.ok(lines.some((line) => /^-rwxr-xr-x 65532\/65532 +5 1970-01-01 00:00 usr\/bin\/tool$/.test(line)));
  assert.ok(lines.some((line) => line.endsWith("usr/bin/other -> tool")));
  assert.ok(lines.some((line) => line.startsWith("drwxrwxrwt") && line.endsWith(" tmp/")));
  assert.ok(lines.some((line) => line.endsWith(` ${long}`)));
  assert.equal(lines.filter((line) => line.endsWith(" usr/bin/")).length, 1);
});

test("renderLayer gives the same bytes for the same entries in another order", () => {
  assert.deepEqual(renderLayer(entries), renderLayer(entries.toReversed()));
});

test("renderLayer writes capabilities as the kernel keeps them", () => {
  const archive = renderLayer([
    { kind: "file", path: "tool", mode: 0o755, bytes: Buffer.from("x"), capabilities: [12, 39] },
  ]);
  const at = Buffer.from(archive).indexOf("SCHILY.xattr.security.capability=");
  const value = Buffer.from(archive).subarray(at + "SCHILY.xattr.security.capability=".length);
  assert.equal(value.subarray(0, 20).toString("hex"), "00000002" + "00100000" + "00000000" + "80000000" + "00000000");
});

test("composeImage names layers by their bytes, and what is in them by theirs", () => {
  const layer = buildLayer(entries);
  assert.equal(layer.digest, digestOf(layer.bytes));
  assert.equal(layer.contentDigest, digestOf(zstdDecompressSync(layer.bytes)));
  const image = composeImage([layer], { Entrypoint: ["/usr/bin/tool"] }, "amd64");
  assert.deepEqual(image, composeImage([buildLayer(entries)], { Entrypoint: ["/usr/bin/tool"] }, "amd64"));
  const config = JSON.parse(Buffer.from(image.config.bytes).toString()) as { rootfs: { diff_ids: string[] } };
  assert.deepEqual(config.rootfs.diff_ids, [layer.contentDigest]);
});

test("renderArchive holds a layer that images share once", () => {
  const layer = buildLayer(entries);
  const image = (program: string) => composeImage([layer], { Entrypoint: [program] }, "amd64");
  const lines = list(
    renderArchive(
      new Map([
        ["example.com/a:1", image("/a")],
        ["example.com/b:1", image("/b")],
      ]),
    ),
  );
  assert.equal(lines.filter((line) => line.includes(" blobs/sha256/") && !line.endsWith("/")).length, 5);
});

test("fullName completes a name as container runtimes do", () => {
  assert.equal(fullName("bpfd"), "docker.io/library/bpfd:latest");
  assert.equal(fullName("quay.io/bpfd/bpfd:main"), "quay.io/bpfd/bpfd:main");
  assert.equal(fullName("localhost:5000/bpfd"), "localhost:5000/bpfd:latest");
});

test("chosenNames takes the variables, in both spellings of the document", () => {
  const names = chosenNames({ BPFD_OPERATOR_IMG: "example.com/operator:1", BPFD_AGENT_IMAGE: "example.com/agent:1" });
  assert.deepEqual(Object.fromEntries(names), {
    daemon: "bpfd:latest",
    agent: "example.com/agent:1",
    operator: "example.com/operator:1",
  });
});

test("bundle gives files that Node keeps in one byte a character, without what nobody calls", async () => {
  const root = join(import.meta.dirname, "../..");
  const { files, licences } = await bundle(root, { agent: "apps/agent/src/main.ts" }, "/usr/lib/bpfleet");
  const texts = [...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString("latin1")] as const);
  assert.deepEqual(
    texts.filter(([, text]) => /[^\0-\x7f]/.test(text)).map(([name]) => name),
    [],
  );
  const all = texts.map(([, text]) => text).join("\n");
  assert.ok(all.includes("ProxyAgent"));
  for (const unwanted of ["MockAgent", "SnapshotAgent", "CacheStorage"])
    assert.equal(all.includes(unwanted), false, unwanted);
  assert.doesNotMatch(all, /^import .* from "node:http";$/m, "node:http as a module loads Node's own undici");
  assert.ok(licences.includes("undici "));
});

test("launcher becomes Node with the flags and settings that keep it small; what is set already stays", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-launcher-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [path, node] = [join(folder, "bpfd-agent"), join(folder, "node")];
  writeFileSync(node, '#!/bin/sh\nenv\nprintf "%s\\n" "$@"\n', { mode: 0o755 });
  writeFileSync(path, launcher("agent", [`-DNODE="${node}"`]), { mode: 0o755 });
  const said = execFileSync(path, ["--one", "two"], { encoding: "utf8", env: { MALLOC_ARENA_MAX: "7", PATH: "/bin" } });
  const lines = said.trim().split("\n");
  assert.deepEqual(lines.slice(-3 - smallNode.flags.length), [
    ...smallNode.flags,
    "/usr/lib/bpfleet/app/agent.js",
    "--one",
    "two",
  ]);
  for (const [name, value] of Object.entries({ ...smallNode.env, MALLOC_ARENA_MAX: "7" }))
    assert.ok(lines.includes(`${name}=${value}`), name);
});

test("ebpfctl up of a checkout starts Node as the images do", () => {
  const text = readFileSync(join(import.meta.dirname, "../../bin/ebpfctl"), "utf8");
  assert.ok(text.includes(`flags="${smallNode.flags.join(" ")}"`));
  for (const [name, value] of Object.entries(smallNode.env)) assert.ok(text.includes(` ${name}=${value}`), name);
});
