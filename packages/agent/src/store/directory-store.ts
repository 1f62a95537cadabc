import { createHash, randomUUID } from "node:crypto";
import { readFileSync, statSync, type BigIntStats } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { canonicalJson, errorText, refKey, renderTime, type Clock, type Issue, type ObjectRef } from "@bpfleet/base";
import { parseManifest, type KubeObject, type ObjectMeta } from "@bpfleet/kinds";
import { isUnfinished, writeFilesAtomically, type NewFile } from "../atomic-file.ts";
import { shiftPosition, type ObjectSource } from "./cut-manifest.ts";
import { checkRef, namespaceOfPath, objectPath } from "./object-path.ts";
import { isMissing, removeFiles, type RemoveOutcome } from "./remove-files.ts";
import { isOther, readState, whenWhole } from "./together.ts";
import { identify, type BrokenFile, type StoredObject, type StoreSnapshot } from "./stored-object.ts";
import { parseStored, renderStored, specFingerprint, type StoredHeader, type StoredText } from "./stored-text.ts";

/** An object to be stored: what it is, and the text that says so. */
export interface NewObject {
  readonly ref: ObjectRef;
  readonly value: unknown;
  readonly text: string;
  readonly source: ObjectSource;
}

export type WriteOutcome = "created" | "configured" | "unchanged";

interface Draft {
  readonly outcome: WriteOutcome;
  readonly file?: NewFile | undefined;
}

/** What the store cannot know of a file that nobody applied: kept by the agent beside the status. */
export type FindHeader = (
  ref: ObjectRef,
) => Pick<StoredHeader, "uid" | "creationTimestamp" | "generation" | "resourceVersion" | "spec"> | undefined;

export interface DirectoryStoreOptions {
  readonly directory: string;
  readonly clock: Pick<Clock, "now">;
  readonly findHeader?: FindHeader | undefined;
}

/** Larger files are no declarations. */
const largestFileBytes = 64 * 2 ** 20;

const parallelReads = 16;
/** Not of the file, but of this process or its machine. */
const shortages: ReadonlySet<unknown> = new Set(["EMFILE", "ENFILE", "ENOMEM"]);
/** Of reading, while others go on changing several files as one. */
const mostRounds = 5;
/** So few are read at once: by the pool of threads one small file is six turns, each behind whatever else goes on. */
const quickReads = 8;

interface CachedFile {
  /** Changes with every replacement and every edit of the file. */
  readonly version: string;
  readonly content: StoredObject | BrokenFile;
}

/**
 * A directory as an API server: one file an object, `<group>/<Kind>/<namespace>/<name>.yaml`. People may edit, add
 * and remove files themselves. What cannot be read is reported with its place and hides nothing else.
 */
export class DirectoryStore {
  readonly directory: string;
  readonly #options: DirectoryStoreOptions;
  readonly #files = new Map<string, CachedFile>();
  /** Something is different from what was told last. */
  #isChanged = false;

  constructor(options: DirectoryStoreOptions) {
    this.directory = options.directory;
    this.#options = options;
  }

  /** As of the last `refresh`. */
  snapshot(): StoreSnapshot {
    const objects: StoredObject[] = [];
    const broken: BrokenFile[] = [];
    for (const [, { content }] of [...this.#files].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      if ("ref" in content) objects.push(content);
      else broken.push(content);
    }
    return { objects, broken };
  }

  /** Looks at every file, and reads those that changed. Whether anything is different now. */
  async refresh(): Promise<boolean> {
    for (let rounds = 1; ; rounds++) {
      const before = await whenWhole(this.directory);
      const paths = await listFiles(this.directory);
      const isListed = new Set(paths);
      const gone = [...this.#files.keys()].filter((path) => !isListed.has(path));
      await this.#look([...paths, ...gone]);
      if (rounds === mostRounds || !isOther(this.directory, before)) return this.#told();
    }
  }

  /** Looks at these files only. Whether anything is different now. */
  async refreshFiles(paths: Iterable<string>): Promise<boolean> {
    const before = readState(this.directory);
    if (before.isWhole) await this.#look(paths);
    // They may be some of several that are changed as one.
    return isOther(this.directory, before) ? this.refresh() : this.#told();
  }

  #told(): boolean {
    const isChanged = this.#isChanged;
    this.#isChanged = false;
    return isChanged;
  }

  /** Throws where this process can read nothing more: of some files alone nobody knows what is declared. */
  async #look(paths: Iterable<string>): Promise<void> {
    const take = (path: string, before: CachedFile | undefined, now: CachedFile | undefined): void => {
      if (now?.version === before?.version) return;
      this.#isChanged = true;
      if (now === undefined) this.#files.delete(path);
      else this.#files.set(path, now);
    };
    const waiting = [...paths];
    if (waiting.length <= quickReads) {
      for (const path of waiting) {
        const before = this.#files.get(path);
        take(path, before, this.#readNow(path, before));
      }
      return;
    }
    const readers = Array.from({ length: parallelReads }, async () => {
      for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
        const before = this.#files.get(path);
        take(path, before, await this.#readFile(path, before));
      }
    });
    await Promise.all(readers);
  }

  /** One object, read from its file now. */
  async read(ref: ObjectRef): Promise<StoredObject | BrokenFile | undefined> {
    return (await this.#readFile(this.#pathOf(ref), undefined))?.content;
  }

  async write(wanted: NewObject): Promise<WriteOutcome> {
    const [outcome] = await this.writeAll([wanted]);
    return outcome ?? "unchanged";
  }

  /**
   * Writes where text or place differ; `unchanged` says that the object is the same, not its comments or lines.
   * All objects are changed within a moment, or none when one cannot be written.
   */
  async writeAll(wanted: readonly NewObject[]): Promise<readonly WriteOutcome[]> {
    const drafts: Draft[] = [];
    for (const each of wanted) drafts.push(await this.#draft(each));
    const files = drafts.flatMap(({ file }) => (file === undefined ? [] : [file]));
    await writeFilesAtomically(files, { within: this.directory });
    return drafts.map(({ outcome }) => outcome);
  }

  async #draft(wanted: NewObject): Promise<Draft> {
    const path = this.#pathOf(wanted.ref);
    const before = await this.read(wanted.ref);
    const stored = before !== undefined && "ref" in before ? before : undefined;
    const text = wanted.text.endsWith("\n") ? wanted.text : `${wanted.text}\n`;
    const object = wanted.value as KubeObject;
    const outcome = stored === undefined ? "created" : isSameObject(stored.object, object) ? "unchanged" : "configured";
    const isSameText = stored?.text === text && canonicalJson(stored.source) === canonicalJson(wanted.source);
    if (outcome === "unchanged" && isSameText) return { outcome };
    const spec = specFingerprint(object);
    const meta = stored?.object.metadata;
    const file: NewFile = {
      path,
      text: renderStored(text, {
        uid: meta?.uid ?? randomUUID(),
        creationTimestamp: meta?.creationTimestamp ?? renderTime(this.#options.clock.now()),
        generation: (meta?.generation ?? 0) + (stored?.spec === spec ? 0 : 1),
        resourceVersion:
          outcome === "unchanged" ? (meta?.resourceVersion ?? "1") : this.#nextVersion(meta?.resourceVersion),
        spec,
        source: wanted.source,
      }),
      mode: wanted.ref.group === "" && wanted.ref.kind === "Secret" ? 0o600 : undefined,
    };
    return { outcome, file };
  }

  /** What `write` would do. */
  async compare(wanted: Pick<NewObject, "ref" | "value">): Promise<WriteOutcome> {
    const before = await this.read(wanted.ref);
    if (before === undefined || !("ref" in before)) return "created";
    return isSameObject(before.object, wanted.value as KubeObject) ? "unchanged" : "configured";
  }

  /** Whether it was there. */
  async remove(ref: ObjectRef): Promise<boolean> {
    const { wereThere, error } = await this.removeAll([ref]);
    if (error !== undefined) throw error;
    return wereThere[0] === true;
  }

  removeAll(refs: readonly ObjectRef[]): Promise<RemoveOutcome> {
    return removeFiles(
      refs.map((ref) => this.#pathOf(ref)),
      this.directory,
    );
  }

  #pathOf(ref: ObjectRef): string {
    return join(this.directory, objectPath(ref, "yaml"));
  }

  #nextVersion(previous: string | undefined): string {
    return String(Math.max(Number(previous ?? 0) + 1, this.#options.clock.now()));
  }

  async #readFile(path: string, before: CachedFile | undefined): Promise<CachedFile | undefined> {
    try {
      const facts = await stat(path, { bigint: true });
      return withoutReading(path, facts, before) ?? this.#parsed(path, facts, await readFile(path));
    } catch (error) {
      return unread(path, error);
    }
  }

  #readNow(path: string, before: CachedFile | undefined): CachedFile | undefined {
    try {
      const facts = statSync(path, { bigint: true });
      return withoutReading(path, facts, before) ?? this.#parsed(path, facts, readFileSync(path));
    } catch (error) {
      return unread(path, error);
    }
  }

  #parsed(path: string, facts: BigIntStats, bytes: Uint8Array): CachedFile {
    return { version: versionOf(facts), content: this.#parse(path, bytes, Number(facts.birthtimeMs)) };
  }

  #parse(path: string, bytes: Uint8Array, bornAt: number): StoredObject | BrokenFile {
    let content: string;
    try {
      content = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      return broken(path, "the file is not UTF-8 text");
    }
    const stored = parseStored(content);
    const here: ObjectSource = { file: path, line: stored.line, isRendered: false };
    const source = stored.isUntouched && stored.header !== undefined ? stored.header.source : here;
    const manifest = parseManifest(stored.text, path);
    const refuse = (issues: readonly Issue[]): BrokenFile => ({
      path,
      issues: issues.map((issue) => ({
        ...issue,
        position: shiftPosition(issue.position, here) ?? { file: path, line: 1, column: 1 },
      })),
    });
    if (manifest.issues.length > 0) return refuse(manifest.issues);
    const [only, ...others] = manifest.objects;
    if (only === undefined) return broken(path, "it holds no object; remove it");
    if (others.length > 0)
      return broken(
        path,
        `it holds ${others.length + 1} objects, the store keeps one a file; move it away and apply it with: ebpfctl apply -f FILE`,
      );
    const identity = identify(only);
    if ("issues" in identity) return refuse(identity.issues);
    const place = relative(this.directory, path);
    const ref = identity.ref.namespace === "" ? { ...identity.ref, namespace: namespaceOfPath(place) } : identity.ref;
    const issues = checkRef(ref);
    if (issues.length > 0) return refuse(issues.map((issue) => ({ ...issue, position: only.positionOf(issue.path) })));
    const expected = objectPath(ref, "yaml");
    if (place !== expected) {
      return broken(
        path,
        `it holds ${ref.kind} ${ref.name}, which belongs in ${expected}; move it there, or apply it with: ebpfctl apply -f FILE`,
      );
    }
    const spec = specFingerprint(only.value);
    return {
      ref,
      path,
      object: withMetadata(only.value as unknown as KubeObject, ref, this.#metadata(ref, stored, spec, bornAt)),
      text: stored.text,
      source,
      positionOf: (pointer) => shiftPosition(only.positionOf(pointer), source),
      spec,
    };
  }

  /** What was written with the text, or what the agent remembers of it since, else what the file system knows. */
  #metadata(ref: ObjectRef, stored: StoredText, spec: string, bornAt: number): ObjectMeta {
    const remembered = this.#options.findHeader?.(ref);
    const isNewer = remembered !== undefined && remembered.generation > (stored.header?.generation ?? 0);
    const known = isNewer && (stored.header?.uid ?? remembered.uid) === remembered.uid ? remembered : stored.header;
    const isSame = known?.spec === spec;
    return {
      name: ref.name,
      uid: known?.uid ?? uidOf(ref, bornAt),
      creationTimestamp: known?.creationTimestamp ?? renderTime(bornAt),
      generation: known === undefined ? 1 : known.generation + (isSame ? 0 : 1),
      resourceVersion:
        known === undefined ? "1" : isSame ? known.resourceVersion : String(Number(known.resourceVersion) + 1),
    };
  }
}

/** For a file that nobody applied: the same over restarts, another one for another file. */
function uidOf(ref: ObjectRef, bornAt: number): string {
  const hex = createHash("sha256")
    .update(`${refKey(ref)}@${bornAt}`)
    .digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function withMetadata(object: KubeObject, ref: ObjectRef, known: ObjectMeta): KubeObject {
  const {
    uid: _uid,
    generation: _generation,
    resourceVersion: _version,
    creationTimestamp: _created,
    ...own
  } = object.metadata;
  const facts = Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined));
  const { status, ...rest } = object;
  return {
    ...rest,
    ...(status === undefined || !isStatusSaid(ref) ? {} : { status }),
    metadata: { ...own, ...facts, name: ref.name, ...(ref.namespace === "" ? {} : { namespace: ref.namespace }) },
  };
}

/** Of kinds that Kubernetes defines people write the status too: nobody else does without a cluster. */
function isStatusSaid({ group }: Pick<ObjectRef, "group">): boolean {
  return group === "";
}

/** Equal in all that a user can say: spec, labels and annotations. */
function isSameObject(a: KubeObject, b: KubeObject): boolean {
  const said = (object: KubeObject) => ({
    status: object.apiVersion.includes("/") ? undefined : object.status,
    apiVersion: object.apiVersion,
    labels: object.metadata.labels ?? {},
    annotations: object.metadata.annotations ?? {},
  });
  return (
    specFingerprint(a) === specFingerprint(b) &&
    specFingerprint({ said: said(a) }) === specFingerprint({ said: said(b) })
  );
}

function broken(path: string, message: string): BrokenFile {
  return {
    path,
    issues: [{ path: "", code: "file", message, severity: "error", position: { file: path, line: 1, column: 1 } }],
  };
}

function versionOf({ ino, mtimeNs, size }: BigIntStats): string {
  return `${ino}.${mtimeNs}.${size}`;
}

/** Of a file that is as before, and of one that is not worth reading. */
function withoutReading(path: string, facts: BigIntStats, before: CachedFile | undefined): CachedFile | undefined {
  const version = versionOf(facts);
  if (before?.version === version) return before;
  if (!facts.isFile()) return { version, content: broken(path, "a plain file is expected") };
  if (facts.size > largestFileBytes)
    return { version, content: broken(path, `the file is larger than ${largestFileBytes >> 20} MiB`) };
  return undefined;
}

/** `undefined`: it is gone. */
function unread(path: string, error: unknown): CachedFile | undefined {
  if (isMissing(error)) return undefined;
  if (error instanceof Error && "code" in error && shortages.has(error.code)) throw error;
  const why = errorText(error);
  return { version: why, content: broken(path, why) };
}

/** Every file below the directory but unfinished ones; a directory that is not there has none. */
async function listFiles(directory: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory() && !isUnfinished(entry.name))
      .map((entry) => join(entry.parentPath, entry.name));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
