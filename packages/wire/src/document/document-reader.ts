import type { Frame, Put } from "../generated/plan_pb.ts";
import { outlineFingerprint, type Hash, type Outline } from "./outline.ts";

/** An item that was received. */
export interface HeldItem<T> {
  readonly fingerprint: string;
  readonly value: T;
}

/** section → key → item, in order. Never changed: a difference makes a new one of it. */
export type HeldDocument<T> = ReadonlyMap<string, ReadonlyMap<string, HeldItem<T>>>;

/** What another process sends cannot be what it should be. */
export class MalformedDocument extends Error {}

/** The difference is to another document than the one that is there. */
export class OtherBase extends Error {}

export interface ReaderOptions<T> {
  readonly hash: Hash;
  /** Throws for what is no body of an item of that section. */
  readonly decode: (body: Uint8Array, section: string) => T;
  /** Of all bodies of one difference. */
  readonly largestBytes: number;
}

/** Puts the frames of one difference together. */
export class DocumentReader<T> {
  readonly #base: HeldDocument<T>;
  readonly #baseFingerprint: string;
  readonly #options: ReaderOptions<T>;
  readonly #removed = new Set<string>();
  readonly #puts = new Map<string, { readonly put: Put; readonly item: HeldItem<T> }>();
  #open: { readonly put: Put; readonly body: Uint8Array; filled: number } | undefined;
  #receivedBytes = 0;

  /** `base` is what the last difference came to; `undefined` before the first. */
  constructor(base: HeldDocument<T> | undefined, options: ReaderOptions<T>) {
    this.#base = base ?? new Map();
    this.#baseFingerprint = base === undefined ? "" : outlineFingerprint(outlineOfHeld(base), options.hash);
    this.#options = options;
  }

  /** The whole document after the last frame of a difference; `undefined` before that. */
  take({ base, steps, result }: Frame): HeldDocument<T> | undefined {
    if (base !== "" && base !== this.#baseFingerprint) throw new OtherBase(`read a difference: it is to ${base}`);
    for (const { step } of steps) {
      switch (step.case) {
        case "put":
          this.#begin(step.value);
          break;
        case "more":
          this.#more(step.value);
          break;
        case "removal":
          this.#removed.add(nameOf(step.value));
          break;
        case undefined:
          throw new MalformedDocument("read a difference: a step of a kind that is not known");
      }
    }
    if (result === "") return undefined;
    if (this.#open !== undefined) throw new MalformedDocument("read a difference: the last item is cut short");
    const document = this.#apply(base === "" ? new Map() : this.#base);
    const fingerprint = outlineFingerprint(outlineOfHeld(document), this.#options.hash);
    if (fingerprint !== result)
      throw new MalformedDocument(`read a difference: it comes to ${fingerprint}, not to ${result}`);
    return document;
  }

  #begin(put: Put): void {
    if (this.#open !== undefined) throw new MalformedDocument("read a difference: an item is cut short");
    this.#receivedBytes += put.sizeBytes;
    if (this.#receivedBytes > this.#options.largestBytes)
      throw new MalformedDocument(`read a difference: it is larger than ${this.#options.largestBytes} bytes`);
    this.#open = {
      put,
      body: put.body.length === put.sizeBytes ? put.body : new Uint8Array(put.sizeBytes),
      filled: 0,
    };
    this.#more(put.body);
  }

  #more(bytes: Uint8Array): void {
    const open = this.#open;
    if (open === undefined || open.filled + bytes.length > open.body.length)
      throw new MalformedDocument("read a difference: more bytes than the item has");
    if (open.body !== bytes) open.body.set(bytes, open.filled);
    open.filled += bytes.length;
    if (open.filled < open.body.length) return;
    this.#open = undefined;
    const { put, body } = open;
    const value = this.#options.decode(body, put.section);
    this.#puts.set(nameOf(put), { put, item: { fingerprint: this.#options.hash(body), value } });
  }

  #apply(base: HeldDocument<T>): HeldDocument<T> {
    const bySection = Map.groupBy(this.#puts.values(), ({ put }) => put.section);
    const document = new Map<string, ReadonlyMap<string, HeldItem<T>>>();
    for (const section of new Set([...base.keys(), ...bySection.keys()])) {
      const items = this.#section(section, base.get(section) ?? new Map(), bySection.get(section) ?? []);
      if (items.size > 0) document.set(section, items);
    }
    return document;
  }

  #section(
    section: string,
    before: ReadonlyMap<string, HeldItem<T>>,
    puts: readonly { readonly put: Put; readonly item: HeldItem<T> }[],
  ): ReadonlyMap<string, HeldItem<T>> {
    const kept = new Map([...before].filter(([key]) => !this.#removed.has(nameOf({ section, key }))));
    const inserted = new Map<string, string[]>();
    const values = new Map(kept);
    const atEnd: string[] = [];
    for (const { put, item } of puts) {
      values.set(put.key, item);
      if (kept.has(put.key)) continue;
      if (put.after === undefined) atEnd.push(put.key);
      else inserted.set(put.after, [...(inserted.get(put.after) ?? []), put.key]);
    }
    const ordered = new Map<string, HeldItem<T>>();
    const add = (first: string): void => {
      // One after the other: a list of a whole section may be longer than the stack is deep.
      for (const waiting = [first]; ;) {
        const key = waiting.pop();
        if (key === undefined) return;
        const item = values.get(key);
        if (item !== undefined) ordered.set(key, item);
        waiting.push(...(inserted.get(key) ?? []).toReversed());
      }
    };
    add("");
    for (const key of kept.keys()) add(key);
    for (const key of atEnd) add(key);
    return ordered;
  }
}

export function outlineOfHeld<T>(document: HeldDocument<T>): Outline {
  return new Map(
    [...document].map(([section, items]) => [
      section,
      new Map([...items].map(([key, { fingerprint }]) => [key, fingerprint])),
    ]),
  );
}

function nameOf({ section, key }: { readonly section: string; readonly key: string }): string {
  return `${section} ${key}`;
}
