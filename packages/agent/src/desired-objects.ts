import { refKey, type Issue, type ObjectRef } from "@bpfleet/base";
import type { Intent } from "@bpfleet/features";
import type { PlanProblem } from "@bpfleet/kernel";
import type { Kind } from "@bpfleet/kinds";
import { acceptObject, isAccepted, type AcceptedObject, type RefusedObject } from "./compile.ts";
import type { BrokenFile, StoredObject, StoreSnapshot } from "./store/stored-object.ts";

/** One file of the store over time. */
interface DesiredFile {
  readonly content: StoredObject | BrokenFile;
  readonly now: AcceptedObject | RefusedObject | BrokenFile;
  /** The last version without mistakes, this one included: that is what is served. */
  readonly good: AcceptedObject | undefined;
}

/** An object that was sound before and has mistakes now: it stays in force as it was. */
export interface SpoiltObject {
  readonly good: AcceptedObject;
  readonly issues: readonly Issue[];
}

/**
 * What the store asks for. A file that somebody spoils keeps what it said before, for as long as this process
 * remembers; whoever means to end an object removes its file.
 */
export class DesiredObjects {
  readonly #kinds: readonly Kind[];
  #files: ReadonlyMap<string, DesiredFile> = new Map();

  constructor(kinds: readonly Kind[]) {
    this.#kinds = kinds;
  }

  update(snapshot: StoreSnapshot): void {
    const files = new Map<string, DesiredFile>();
    for (const content of [...snapshot.objects, ...snapshot.broken]) {
      const before = this.#files.get(content.path);
      files.set(content.path, before?.content === content ? before : this.#read(content, before));
    }
    this.#files = files;
  }

  /** What is to be served. */
  sound(): readonly AcceptedObject[] {
    return [...this.#files.values()].flatMap(({ good }) => (good === undefined ? [] : [good]));
  }

  /** Served as they were before they were spoilt. */
  spoilt(): readonly SpoiltObject[] {
    return [...this.#files.values()].flatMap(({ now, good }) =>
      good === undefined || isAccepted(now) ? [] : [{ good, issues: now.issues }],
    );
  }

  /** Never sound as far as this process knows: not served. */
  refused(): readonly RefusedObject[] {
    return [...this.#files.values()].flatMap(({ now, good }) =>
      good === undefined && "stored" in now && !isAccepted(now) ? [now] : [],
    );
  }

  /** Of what is refused: what must not be open meanwhile. */
  closing(): readonly Intent[] {
    return this.refused().flatMap(({ closing }) => closing?.intents ?? []);
  }

  /** Mistakes and warnings, as problems of the objects that have them. */
  problems(): readonly PlanProblem[] {
    const warnings = this.sound().flatMap(({ parsed, issues }) =>
      issues.map((issue) => issueProblem(parsed.ref, issue)),
    );
    const spoilt = this.spoilt().flatMap(({ good, issues }) =>
      issues.map((issue) => issueProblem(good.parsed.ref, issue, "the version before it stays in force")),
    );
    const refused = this.refused().flatMap(({ stored, issues, closing }) =>
      issues.map((issue) => issueProblem(stored.ref, issue, closing?.so)),
    );
    return [...warnings, ...spoilt, ...refused];
  }

  /** Files of which nothing can be told but that they are no objects. */
  broken(): readonly BrokenFile[] {
    return [...this.#files.values()].flatMap(({ now }) => ("path" in now ? [now] : []));
  }

  /** Paths that are not served, and may hold what an earlier run served. */
  unservedPaths(): readonly string[] {
    return [...this.#files.values()].flatMap(({ content, now, good }) => {
      const isClosed = "closing" in now && (now.closing?.intents ?? []).length > 0;
      return good === undefined && !isClosed ? [content.path] : [];
    });
  }

  /** Fingerprints of what is served or refused, by `refKey`. */
  specs(of: (ref: ObjectRef) => boolean): ReadonlyMap<string, string> {
    const stored = [...this.refused(), ...this.sound()].flatMap((object) =>
      of(object.stored.ref) ? [object.stored] : [],
    );
    return new Map(stored.map(({ ref, spec }) => [refKey(ref), spec]));
  }

  #read(content: StoredObject | BrokenFile, before: DesiredFile | undefined): DesiredFile {
    const now = "ref" in content ? acceptObject(content, this.#kinds) : content;
    return { content, now, good: isAccepted(now) ? now : before?.good };
  }
}

/** With the place in the message: status and conditions show nothing else. */
function issueProblem(ref: ObjectRef, issue: Issue, so?: string): PlanProblem {
  const { position } = issue;
  const place = position === undefined ? "" : `${position.file}:${position.line}: `;
  const isError = issue.severity === "error";
  const suffix = isError && so !== undefined ? `; ${so}` : "";
  return {
    origin: { object: ref, path: issue.path },
    reason: isError ? "Invalid" : "Warning",
    message: `${place}${issue.message}${suffix}`,
    severity: isError ? "refused" : "note",
  };
}
