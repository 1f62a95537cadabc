import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { ObjectRef } from "@bpfleet/base";
import { changeTogether } from "../atomic-file.ts";
import { cutManifest } from "./cut-manifest.ts";
import { DirectoryStore, type NewObject, type WriteOutcome } from "./directory-store.ts";
import { checkRef, objectPath } from "./object-path.ts";
import { identify, type BrokenFile, type StoredObject } from "./stored-object.ts";
import { watchStore, type StoreHint } from "./watch-store.ts";

let directory: string;
let now = Date.parse("2026-11-21T12:00:00.400Z");
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfleet-store-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const filterText = `# what we keep out
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata:
  name: filter
  namespace: default
  labels: {team: edge}
spec:
  type: xdp
  settings:
    blacklist:
      ips:
        - 10.0.0.1 # the first
        - 10.0.0.2
`;

function newStore(): DirectoryStore {
  return new DirectoryStore({ directory, clock: { now: () => (now += 1) } });
}

function cut(text: string, file = "/home/me/filter.yaml"): NewObject[] {
  return cutManifest(text, file).objects.map(({ manifest, text: own, source }) => {
    const identity = identify(manifest);
    assert.ok("ref" in identity);
    return { ref: identity.ref, value: manifest.value, text: own, source };
  });
}

async function apply(store: DirectoryStore, text: string, file?: string): Promise<WriteOutcome[]> {
  const outcomes: WriteOutcome[] = [];
  for (const object of cut(text, file)) outcomes.push(await store.write(object));
  return outcomes;
}

const filterRef = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "filter" };

async function readFilter(store: DirectoryStore): Promise<StoredObject> {
  const read = await store.read(filterRef);
  assert.ok(read !== undefined && "ref" in read, JSON.stringify(read));
  return read;
}

test("DirectoryStore.write creates, configures and leaves unchanged, as kubectl says it", async () => {
  const store = newStore();
  assert.deepEqual(await apply(store, filterText), ["created"]);
  const first = await readFilter(store);
  assert.deepEqual(await apply(store, filterText), ["unchanged"]);
  assert.deepEqual((await readFilter(store)).object, first.object);
  assert.equal(first.object.metadata.generation, 1);
  assert.equal(first.object.metadata.creationTimestamp, "2026-11-21T12:00:00Z");

  assert.deepEqual(await apply(store, filterText.replace("10.0.0.2", "10.0.0.3")), ["configured"]);
  const second = await readFilter(store);
  assert.equal(second.object.metadata.generation, 2);
  assert.equal(second.object.metadata.uid, first.object.metadata.uid);
  assert.equal(second.object.metadata.creationTimestamp, first.object.metadata.creationTimestamp);
  assert.notEqual(second.object.metadata.resourceVersion, first.object.metadata.resourceVersion);
});

test("DirectoryStore keeps a Secret from everybody but its owner", async () => {
  const text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: bpfd}\nstringData: {a: b}\n";
  assert.deepEqual(await apply(newStore(), text), ["created"]);
  assert.equal(statSync(join(directory, "core/Secret/bpfd/s.yaml")).mode & 0o777, 0o600);
});

test("DirectoryStore keeps the status of kinds that Kubernetes defines, for nobody else writes it", async () => {
  const node = (address: string): string =>
    `apiVersion: v1\nkind: Node\nmetadata: {name: worker}\nstatus: {addresses: [{type: InternalIP, address: ${address}}]}\n`;
  const store = newStore();
  assert.deepEqual(await apply(store, node("192.0.2.1")), ["created"]);
  assert.deepEqual(await apply(store, node("192.0.2.1")), ["unchanged"]);
  assert.deepEqual(await apply(store, node("192.0.2.2")), ["configured"]);
  const stored = await store.read({ group: "", kind: "Node", namespace: "", name: "worker" });
  assert.ok(stored !== undefined && "object" in stored);
  assert.deepEqual(stored.object.status, { addresses: [{ type: "InternalIP", address: "192.0.2.2" }] });
  await apply(store, `${filterText}status: {state: Active}\n`);
  const filter = await store.read(cut(filterText)[0]?.ref ?? assert.fail());
  assert.ok(filter !== undefined && "object" in filter);
  assert.equal(filter.object.status, undefined);
});

test("DirectoryStore.write bumps the generation for spec only, not for labels", async () => {
  const store = newStore();
  await apply(store, filterText);
  assert.deepEqual(await apply(store, filterText.replace("team: edge", "team: core")), ["configured"]);
  const read = await readFilter(store);
  assert.equal(read.object.metadata.generation, 1);
  assert.deepEqual(read.object.metadata.labels, { team: "core" });
});

test("DirectoryStore.write keeps places true when only lines and comments moved", async () => {
  const store = newStore();
  await apply(store, filterText);
  const before = await readFilter(store);
  assert.deepEqual(before.positionOf("/spec/settings/blacklist/ips/1"), {
    file: "/home/me/filter.yaml",
    line: 14,
    column: 11,
  });
  assert.deepEqual(await apply(store, `# another line\n${filterText}`), ["unchanged"]);
  const after = await readFilter(store);
  assert.deepEqual(after.object, before.object);
  assert.equal(after.positionOf("/spec/settings/blacklist/ips/1")?.line, 15);
});

test("DirectoryStore gives positions in the user's file for every document and list item of it", async () => {
  const list = `---
apiVersion: v1
kind: List
items:
- apiVersion: a.example/v1
  kind: Thing
  metadata: {name: one}
  spec: {x: 1}
- apiVersion: a.example/v1
  kind: Thing
  metadata:
    name: two
  spec:
    x: 2 # here
--- # a comment
apiVersion: a.example/v1
kind: Thing
metadata:
  name: three
spec:
  x: 3
`;
  const store = newStore();
  assert.deepEqual(await apply(store, list, "list.yaml"), ["created", "created", "created"]);
  await store.refresh();
  const places = store
    .snapshot()
    .objects.map((object) => [
      object.ref.name,
      object.positionOf("/spec/x")?.line,
      object.positionOf("/spec/x")?.column,
    ]);
  assert.deepEqual(places, [
    ["one", 8, 10],
    ["three", 21, 3],
    ["two", 14, 5],
  ]);
});

test("DirectoryStore keeps objects whose text cannot be cut out, with the place of their document", async () => {
  const json = JSON.stringify({
    apiVersion: "v1",
    kind: "List",
    items: ["a", "b"].map((name) => ({
      apiVersion: "a.example/v1",
      kind: "Thing",
      metadata: { name },
      spec: { x: name },
    })),
  });
  const store = newStore();
  assert.deepEqual(await apply(store, `\n\n${json}\n`, "list.json"), ["created", "created"]);
  await store.refresh();
  assert.deepEqual(
    store.snapshot().objects.map((object) => [object.object.spec, object.positionOf("/spec/x")?.line]),
    [
      [{ x: "a" }, 3],
      [{ x: "b" }, 3],
    ],
  );
});

test("DirectoryStore reads a file that somebody wrote there by hand, and one that he edited", async () => {
  const store = newStore();
  const path = join(directory, objectPath(filterRef, "yaml"));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, filterText);
  const placed = await readFilter(store);
  assert.equal(placed.object.metadata.generation, 1);
  assert.match(placed.object.metadata.uid ?? "", /^[0-9a-f-]{36}$/);
  assert.deepEqual(placed.positionOf("/spec/settings/blacklist/ips/0"), { file: path, line: 13, column: 11 });

  await apply(store, filterText);
  writeFileSync(path, readFileSync(path, "utf8").replace("10.0.0.2", "10.0.0.9"));
  const edited = await readFilter(store);
  assert.equal(edited.object.metadata.generation, 2);
  assert.equal(edited.object.metadata.uid, placed.object.metadata.uid);
  assert.deepEqual(edited.positionOf("/spec/settings/blacklist/ips/1"), { file: path, line: 15, column: 11 });
});

test("DirectoryStore reports garbage with its place and keeps the rest working", async () => {
  const store = newStore();
  await apply(store, filterText);
  const put = (path: string, content: string | Uint8Array) => {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  };
  put("networking.fos1.io/EBPFProgram/default/syntax.yaml", "apiVersion: v1\nkind: [\n");
  put("networking.fos1.io/EBPFProgram/default/binary.yaml", Uint8Array.of(0xff, 0xfe, 0x00));
  put("networking.fos1.io/EBPFProgram/default/elsewhere.yaml", filterText);
  put("networking.fos1.io/EBPFProgram/default/two.yaml", `${filterText}---\n${filterText}`);
  put("networking.fos1.io/EBPFProgram/default/nameless.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {}\n");
  put("networking.fos1.io/EBPFProgram/default/empty.yaml", "# nothing\n");
  put("README", "a foreign file");
  mkdirSync(join(directory, "networking.fos1.io/EBPFProgram/default/folder.yaml"));
  symlinkSync("/nowhere", join(directory, "networking.fos1.io/EBPFProgram/default/dangling.yaml"));
  put("networking.fos1.io/EBPFProgram/default/.filter.yaml.1.0.tmp", "unfinished");
  await store.refresh();
  const { objects, broken } = store.snapshot();
  assert.deepEqual(
    objects.map((object) => object.ref.name),
    ["filter"],
  );
  const told = broken.map(
    ({ path, issues: [issue] }: BrokenFile) =>
      `${path.split("/").at(-1)}:${issue?.position?.line}:${issue?.position?.column}: ${issue?.message}`,
  );
  assert.equal(told.length, 7, told.join("\n"));
  assert.match(told.join("\n"), /syntax\.yaml:3:1: parse YAML/);
  assert.match(told.join("\n"), /binary\.yaml:1:1: the file is not UTF-8 text/);
  assert.match(told.join("\n"), /elsewhere\.yaml:1:1: it holds EBPFProgram filter, which belongs in/);
  assert.match(told.join("\n"), /two\.yaml:1:1: it holds 2 objects/);
  assert.match(told.join("\n"), /nameless\.yaml:3:1: metadata\.name/);
});

test("DirectoryStore.refresh tells whether anything changed", async () => {
  const store = newStore();
  assert.equal(await store.refresh(), false);
  await apply(store, filterText);
  assert.equal(await store.refresh(), true);
  assert.equal(await store.refresh(), false);
  const path = join(directory, objectPath(filterRef, "yaml"));
  utimesSync(path, 1, 1);
  assert.equal(await store.refreshFiles([path]), true);
  assert.equal(await store.remove(filterRef), true);
  assert.equal(await store.remove(filterRef), false);
  assert.equal(await store.refresh(), true);
  assert.deepEqual(store.snapshot(), { objects: [], broken: [] });
});

test("DirectoryStore leaves no unfinished file behind when writing fails", async () => {
  const store = newStore();
  const path = join(directory, objectPath(filterRef, "yaml"));
  mkdirSync(path, { recursive: true });
  await assert.rejects(apply(store, filterText));
  assert.deepEqual(readdirSync(dirname(path)), ["filter.yaml"]);
});

test("DirectoryStore.writeAll changes nothing when one of several objects cannot be written", async () => {
  const store = newStore();
  await apply(store, filterText);
  const other = filterText.replace("name: filter\n  namespace: default", "name: other\n  namespace: blocked");
  const folder = dirname(dirname(join(directory, objectPath(filterRef, "yaml"))));
  writeFileSync(join(folder, "blocked"), "");
  const changed = filterText.replace("10.0.0.2", "10.0.0.3");
  const before = readFileSync(join(directory, objectPath(filterRef, "yaml")), "utf8");
  await assert.rejects(store.writeAll([...cut(changed), ...cut(other)]));
  assert.equal(readFileSync(join(directory, objectPath(filterRef, "yaml")), "utf8"), before);
  assert.deepEqual(readdirSync(join(folder, "default")), ["filter.yaml"]);
  rmSync(join(folder, "blocked"));
  assert.deepEqual(await store.writeAll([...cut(changed), ...cut(other)]), ["configured", "created"]);
});

test("objectPath never leaves the store, whatever the names", () => {
  const part = fc.oneof(
    fc.string(),
    fc.constantFrom("..", ".", "a/../..", "/etc", "a/b", "a\0b", "A", "core", "_"),
    fc.stringMatching(/^[a-z0-9.-]{1,253}$/),
  );
  fc.assert(
    fc.property(part, part, part, part, (group, kind, namespace, name) => {
      const ref = { group, kind, namespace, name };
      if (checkRef(ref).length > 0) return assert.throws(() => objectPath(ref, "yaml"), RangeError);
      const parts = objectPath(ref, "yaml").split("/");
      assert.equal(parts.length, 4);
      for (const name of parts)
        assert.ok(name !== "." && name !== ".." && name !== "" && Buffer.byteLength(name) <= 220);
      return undefined;
    }),
    { numRuns: 2000 },
  );
});

test("objectPath gives different objects different files, also where names are long", () => {
  const long = "a".repeat(230);
  const paths = [`${long}b`, `${long}c`, long].map((name) => objectPath({ ...filterRef, name }, "yaml"));
  assert.equal(new Set(paths).size, 3);
});

test("watchStore names the file that was applied within a moment", async () => {
  const hints: StoreHint[] = [];
  let tell = () => {};
  const store = newStore();
  await apply(store, filterText);
  using watch = watchStore(directory, (hint) => {
    hints.push(hint);
    tell();
  });
  await watch.isReady;
  const told = new Promise<void>((resolve) => (tell = resolve));
  await apply(store, filterText.replace("10.0.0.2", "10.0.0.3"));
  await told;
  assert.deepEqual(hints[0], new Set([join(directory, objectPath(filterRef, "yaml"))]));
});

test("watchStore sees objects in directories that come and go", async () => {
  const store = newStore();
  let tell = () => {};
  using watch = watchStore(join(directory), () => tell());
  await watch.isReady;
  for (let round = 0; round < 3; round++) {
    const isThere = until(
      () => store.snapshot().objects.length === 1,
      store,
      (wake) => (tell = wake),
    );
    await apply(store, filterText);
    await isThere;
    const isGone = until(
      () => store.snapshot().objects.length === 0,
      store,
      (wake) => (tell = wake),
    );
    rmSync(join(directory, "networking.fos1.io"), { recursive: true });
    await isGone;
  }
});

async function until(isTrue: () => boolean, store: DirectoryStore, onWake: (wake: () => void) => void): Promise<void> {
  const signal = AbortSignal.timeout(5000);
  while (!isTrue()) {
    signal.throwIfAborted();
    const woken = Promise.withResolvers<void>();
    const giveUp = setTimeout(woken.reject, 5000, new Error("nothing was told for 5 s"));
    onWake(woken.resolve);
    await store.refresh();
    if (!isTrue()) await woken.promise;
    clearTimeout(giveUp);
    await store.refresh();
  }
}

test("DirectoryStore.refresh waits for others that change several files as one, and takes all of it", async () => {
  const [writer, reader] = [newStore(), newStore()];
  const named = (name: string): NewObject[] => cut(filterText.replace("name: filter", `name: ${name}`));
  await writer.writeAll(named("a"));
  assert.equal(await reader.refresh(), true);
  const together = changeTogether(directory);
  await writer.writeAll(named("b"));
  let isDone = false;
  const reading = reader
    .refreshFiles([join(directory, objectPath({ ...filterRef, name: "b" }, "yaml"))])
    .finally(() => (isDone = true));
  await writer.writeAll(named("c"));
  assert.equal(isDone, false);
  together[Symbol.dispose]();
  assert.equal(await reading, true);
  assert.deepEqual(
    reader.snapshot().objects.map(({ ref }) => ref.name),
    ["a", "b", "c"],
  );
  await writer.writeAll([...named("d"), ...named("e")]);
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith(".")),
    [],
    "nothing is left of it",
  );
});

test("DirectoryStore.refresh does not wait for who ended in the middle", async () => {
  const store = newStore();
  await store.writeAll(cut(filterText));
  writeFileSync(join(directory, ".together.999999999.0.tmp"), "");
  assert.equal(await store.refresh(), true);
});

test("DirectoryStore.refresh waits for who is longer at it than for one who is stuck in the middle", async () => {
  const [writer, reader] = [newStore(), newStore()];
  await writer.writeAll(["a", "b"].flatMap((name) => cut(filterText.replace("name: filter", `name: ${name}`))));
  await reader.refresh();
  const together = changeTogether(directory);
  await writer.remove({ ...filterRef, name: "a" });
  let isDone = false;
  const reading = reader.refresh().finally(() => (isDone = true));
  for (const endMs = performance.now() + 3000; performance.now() < endMs;) {
    await sleep(50);
    assert.equal(isDone, false);
  }
  await writer.remove({ ...filterRef, name: "b" });
  together[Symbol.dispose]();
  assert.equal(await reading, true);
  assert.deepEqual(reader.snapshot().objects, []);
});

test("DirectoryStore.removeAll says of each whether it was there, and ends at one that cannot be removed", async () => {
  const store = newStore();
  const refs = ["a", "b", "c", "d"].map((name) => ({ ...filterRef, name }));
  for (const name of ["a", "d"]) await store.writeAll(cut(filterText.replace("name: filter", `name: ${name}`)));
  const pathOf = (ref: ObjectRef): string => join(directory, objectPath(ref, "yaml"));
  mkdirSync(pathOf(refs[2] as ObjectRef));
  const { wereThere, error } = await store.removeAll(refs);
  assert.deepEqual(wereThere, [true, false]);
  assert.ok(error instanceof Error);
  assert.ok(existsSync(pathOf(refs[3] as ObjectRef)));
  await assert.rejects(store.remove(refs[2] as ObjectRef));
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith(".")),
    [],
    "nothing is left of it",
  );
});
