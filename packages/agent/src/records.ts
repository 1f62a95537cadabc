import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { refKey, type ObjectRef } from "@bpfleet/base";
import type { KubeObject } from "@bpfleet/kinds";
import { writeFileAtomically } from "./atomic-file.ts";
import { withoutStatus } from "./made-object.ts";
import type { ObjectEvent, ObjectReport, ObjectState } from "./report.ts";
import { objectPath } from "./store/object-path.ts";
import type { StoredHeader } from "./store/stored-text.ts";

/** What the agent keeps of one object between its runs, and for readers while it does not run. */
export interface ObjectRecord extends Pick<
  StoredHeader,
  "uid" | "creationTimestamp" | "generation" | "resourceVersion" | "spec"
> {
  readonly ref: ObjectRef;
  readonly state: ObjectState;
  readonly messages: readonly string[];
  readonly status: unknown;
  readonly events: readonly ObjectEvent[];
  /** Of an object that nobody wrote: of which one it is made, and the object itself without its status. */
  readonly made?: { readonly from: ObjectRef; readonly object: KubeObject } | undefined;
}

/** What the agent remembers of objects, from one report to the next. */
export interface ObjectRecords {
  /** Reads what an earlier run left. */
  load(): Promise<void>;
  find(ref: ObjectRef): ObjectRecord | undefined;
  all(): readonly ObjectRecord[];
  /** Objects that were made of these. */
  madeFrom(owners: readonly ObjectRef[]): readonly ObjectRef[];
  save(record: ObjectRecord): Promise<void>;
  /** Forgets objects that are not among these. */
  keepOnly(refs: Iterable<ObjectRef>): Promise<void>;
  /** Whether an earlier run served another version of it, which may be in force; every record is taken for that else. */
  wasServed?(ref: ObjectRef): boolean;
}

/** `<state>/status/<group>/<Kind>/<namespace>/<name>.json`, one an object. */
export class Records implements ObjectRecords {
  readonly #directory: string;
  readonly #records = new Map<string, { readonly record: ObjectRecord; readonly text: string }>();
  /** Not on the disk yet, since it could not be written. */
  readonly #unwritten = new Set<string>();

  constructor(stateDirectory: string) {
    this.#directory = join(stateDirectory, "status");
  }

  /** Files that are no records are passed by. */
  async load(): Promise<void> {
    for (const path of await listJson(this.#directory)) {
      const record = parseRecord(await readFile(path, "utf8").catch(() => ""));
      if (record !== undefined) this.#records.set(refKey(record.ref), { record, text: JSON.stringify(record) });
    }
  }

  find(ref: ObjectRef): ObjectRecord | undefined {
    return this.#records.get(refKey(ref))?.record;
  }

  all(): readonly ObjectRecord[] {
    return [...this.#records.values()].map(({ record }) => record);
  }

  madeFrom(owners: readonly ObjectRef[]): readonly ObjectRef[] {
    const keys = new Set(owners.map(refKey));
    return this.all().flatMap(({ ref, made }) => (made !== undefined && keys.has(refKey(made.from)) ? [ref] : []));
  }

  /** Writes the file when anything in the record is different. */
  async save(record: ObjectRecord): Promise<void> {
    const text = JSON.stringify(record);
    const key = refKey(record.ref);
    if (this.#records.get(key)?.text === text && !this.#unwritten.has(key)) return;
    this.#records.set(key, { record, text });
    this.#unwritten.add(key);
    await writeFileAtomically(join(this.#directory, objectPath(record.ref, "json")), `${text}\n`, { isDurable: false });
    this.#unwritten.delete(key);
  }

  /** Removes the records of objects that are not among these. */
  async keepOnly(refs: Iterable<ObjectRef>): Promise<void> {
    const kept = new Set([...refs].map(refKey));
    for (const [key, { record }] of this.#records) {
      if (kept.has(key)) continue;
      this.#records.delete(key);
      this.#unwritten.delete(key);
      await rm(join(this.#directory, objectPath(record.ref, "json")), { force: true });
    }
  }
}

/** `spec`: fingerprint of what is declared. */
export function recordOfReport(
  { ref, object, state, messages, events, madeFrom }: ObjectReport,
  spec: string,
): ObjectRecord {
  const { uid = "", creationTimestamp = "", generation = 1, resourceVersion = "1" } = object.metadata;
  return {
    ref,
    uid,
    creationTimestamp,
    generation,
    resourceVersion,
    spec,
    state,
    messages,
    status: object.status,
    events,
    ...(madeFrom === undefined ? {} : { made: { from: madeFrom, object: withoutStatus(object) } }),
  };
}

async function listJson(directory: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile() && entry.name.endsWith(".json"))
      .map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
}

function parseRecord(text: string): ObjectRecord | undefined {
  try {
    const value = JSON.parse(text) as Partial<ObjectRecord> | null;
    const isWhole =
      value !== null &&
      typeof value === "object" &&
      typeof value.uid === "string" &&
      typeof value.generation === "number" &&
      typeof value.ref === "object" &&
      typeof value.ref.kind === "string" &&
      Array.isArray(value.events) &&
      Array.isArray(value.messages);
    return isWhole ? (value as ObjectRecord) : undefined;
  } catch {
    return undefined;
  }
}
