import { isRecord } from "@bpfleet/base";
import { isAlias, isMap, isScalar, isSeq, parseAllDocuments } from "yaml";
import type { Alias, Document, Node, Pair, Scalar as ScalarNode, YAMLMap, YAMLSeq } from "yaml";
import { shortenLists } from "./long-lists.ts";
import type { LongList } from "./long-lists.ts";
import { joinPointer, placeOffset, renderPath } from "./places.ts";
import type { Place } from "./places.ts";
import { findUnknownTag, resolvePlain, resolveTagged } from "./scalars.ts";
import type { ScalarResult } from "./scalars.ts";

/** One document of a text: its value when it could be read, and what is wrong with it. */
export interface ReadDocument {
  readonly value: unknown;
  readonly place: Place;
  readonly faults: readonly ReadFault[];
}

export interface ReadFault {
  readonly at: number;
  readonly code: "syntax" | "duplicate-key" | "too-large" | "value";
  readonly path: string;
  readonly message: string;
}

/** A document may become this many values, counting what its aliases repeat. */
const maxValues = 1_000_000;
const maxDepth = 200;

const noLists: ReadonlyMap<number, LongList> = new Map();

export function readYaml(text: string): readonly ReadDocument[] {
  const shortened = shortenLists(text);
  if (shortened !== undefined) {
    const found = new Set<LongList>();
    const documents = readDocuments(shortened.text, shortened.lists, found);
    const isClean = documents.every(({ faults }) => faults.length === 0);
    if (isClean && found.size === shortened.lists.size) return documents;
  }
  return readDocuments(text, noLists, new Set());
}

/** `found` gets the lists that were where they seemed to be. */
function readDocuments(
  text: string,
  lists: ReadonlyMap<number, LongList>,
  found: Set<LongList>,
): readonly ReadDocument[] {
  return parseDocuments(text).map((document) => {
    if (!("contents" in document)) return document;
    const broken = textBeforeFields(document) ?? syntaxFaults(document);
    if (broken.length > 0) return { value: undefined, place: document.range[0], faults: broken };
    return new YamlReader(document, lists, found).read();
  });
}

/** A line of text, as of a command that was copied too, and fields below it: one mistake, not one for each word of them. */
function textBeforeFields({ errors, contents }: Document.Parsed): readonly ReadFault[] | undefined {
  if (!isScalar(contents) || contents.type !== "PLAIN" || !errors.some(({ code }) => code === "UNEXPECTED_TOKEN"))
    return undefined;
  const words = String(contents.value ?? contents.source);
  const shown = words.length > 40 ? `${words.slice(0, 39)}…` : words;
  const message = `"${shown}" is text, and something else follows it; if it is a command, remove it or put # before it`;
  return [syntaxFault(contents.range?.[0] ?? 0, message)];
}

/** Of two mistakes in one place the first says it. */
function syntaxFaults({ errors }: Document.Parsed): readonly ReadFault[] {
  const overflow = errors.find(({ message }) => /call stack/i.test(message));
  if (overflow !== undefined) return [tooDeep(overflow.pos[0], "")];
  const first = errors.filter(({ pos }, index) => errors.findIndex((other) => other.pos[0] === pos[0]) === index);
  return first.map(({ code, pos, message }) =>
    syntaxFault(
      pos[0],
      code === "BLOCK_AS_IMPLICIT_KEY"
        ? "what is below is indented deeper, though this has its value already; indent both alike"
        : message,
    ),
  );
}

function parseDocuments(text: string): readonly (Document.Parsed | ReadDocument)[] {
  try {
    const documents = parseAllDocuments(text, {
      schema: "failsafe",
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: "silent",
    });
    return Array.isArray(documents) ? documents : [];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [{ value: undefined, place: 0, faults: [tooDeep(0, "")] }];
  }
}

class YamlReader {
  readonly #document: Document.Parsed;
  readonly #lists: ReadonlyMap<number, LongList>;
  readonly #found: Set<LongList>;
  readonly #faults: ReadFault[] = [];
  readonly #anchors = new Map<string, Node>();
  readonly #open = new Set<Node>();
  #values = 0;

  constructor(document: Document.Parsed, lists: ReadonlyMap<number, LongList>, found: Set<LongList>) {
    this.#document = document;
    this.#lists = lists;
    this.#found = found;
  }

  read(): ReadDocument {
    const root = this.#document.contents;
    const [value, place] = this.#node(root, "", 0);
    const stopped = this.#values > maxValues;
    return { value: stopped ? undefined : value, place, faults: this.#faults };
  }

  #node(node: Node | null | undefined, path: string, depth: number): [value: unknown, place: Place] {
    const at = node?.range?.[0] ?? 0;
    if (++this.#values > maxValues) {
      if (this.#values === maxValues + 1)
        this.#fault(
          "too-large",
          at,
          path,
          `is part of a document of more than ${maxValues} values; split it, and do not nest aliases`,
        );
      return [null, at];
    }
    if (depth > maxDepth) {
      this.#faults.push(tooDeep(at, path));
      return [null, at];
    }
    if (node === null || node === undefined) return [null, at];
    if (isAlias(node)) return this.#alias(node.source, at, path, depth);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    this.#checkTag(node, at, path);
    this.#open.add(node);
    const read = isMap(node)
      ? this.#map(node, at, path, depth)
      : isSeq(node)
        ? this.#sequence(node, at, path, depth)
        : this.#scalar(node, at, path);
    this.#open.delete(node);
    return read;
  }

  #alias(name: string, at: number, path: string, depth: number): [unknown, Place] {
    const target = this.#anchors.get(name);
    if (target === undefined || this.#open.has(target)) {
      const message =
        target === undefined
          ? `is an alias of &${name}, which is not above it`
          : `is an alias of &${name}, which contains it`;
      this.#fault("value", at, path, message);
      return [null, at];
    }
    return [this.#node(target, path, depth + 1)[0], at];
  }

  #sequence(node: YAMLSeq, at: number, path: string, depth: number): [unknown, Place] {
    const values: unknown[] = [];
    const items: Place[] = [];
    const nodes = node.items as (Node | null)[];
    for (const [index, item] of nodes.entries()) {
      const [value, place] = this.#node(item, joinPointer(path, values.length), depth + 1);
      values.push(value);
      items.push(place);
      const list = this.#lists.get(item?.range?.[0] ?? -1);
      if (list !== undefined && nodes[index + 1]?.range?.[0] === list.last) this.#between(list, path, values, items);
    }
    return [values, { at, items }];
  }

  #between(list: LongList, path: string, values: unknown[], items: Place[]): void {
    this.#found.add(list);
    this.#values += list.values.length;
    for (const [index, text] of list.values.entries()) {
      const at = list.offsets[index] ?? 0;
      const resolved = resolvePlain(text);
      if (!resolved.ok)
        this.#fault("value", at, joinPointer(path, values.length), `cannot be read: ${resolved.because}`);
      values.push(resolved.ok ? resolved.value : null);
      items.push(at);
    }
  }

  #map(node: YAMLMap, at: number, path: string, depth: number): [unknown, Place] {
    const value: Record<string, unknown> = {};
    const fields = new Map<string, Place>();
    const written = new Set<string>();
    for (const pair of node.items as Pair<Node | null, Node | null>[]) {
      if (isMergeKey(pair.key)) {
        this.#merge(pair.value, path, depth, value, fields);
        continue;
      }
      const key = this.#key(pair.key, path);
      if (key === undefined) continue;
      const keyAt = pair.key?.range?.[0] ?? at;
      const keyPath = joinPointer(path, key);
      if (written.has(key)) this.#fault("duplicate-key", keyAt, keyPath, "is given twice; keep one");
      written.add(key);
      const [field, place] = this.#node(pair.value, keyPath, depth + 1);
      setField(value, key, field);
      fields.set(key, typeof place === "number" ? keyAt : { ...place, at: keyAt });
    }
    return [value, { at, fields }];
  }

  /** As kubectl does it: in the order of the text, so that a merge after a field replaces the field. */
  #merge(
    source: Node | null,
    path: string,
    depth: number,
    value: Record<string, unknown>,
    fields: Map<string, Place>,
  ): void {
    const at = source?.range?.[0] ?? 0;
    const [merged] = this.#node(source, path, depth + 1);
    for (const part of Array.isArray(merged) ? merged.toReversed() : [merged]) {
      if (!isRecord(part)) {
        this.#fault("value", at, path, "merges (<<) something that is no mapping");
        continue;
      }
      for (const [key, field] of Object.entries(part)) {
        setField(value, key, field);
        fields.set(key, at);
      }
    }
  }

  #key(node: Node | null, path: string): string | undefined {
    const at = node?.range?.[0] ?? 0;
    const target = isAlias(node) ? this.#anchors.get(node.source) : node;
    if (!isScalar(target)) {
      this.#fault("value", at, path, target === null ? "has a key that is empty" : "has a key that is no word");
      return undefined;
    }
    if (target.anchor !== undefined) this.#anchors.set(target.anchor, target);
    this.#checkTag(target, at, path);
    const resolved = resolveScalar(target);
    if (resolved.ok && resolved.value !== null) return String(resolved.value);
    this.#fault(
      "value",
      at,
      path,
      resolved.ok ? "has a key that is null; put it in quotes" : `has a key that cannot be read: ${resolved.because}`,
    );
    return undefined;
  }

  /** Whoever writes one means something by it, which nobody here would do. */
  #checkTag(node: Exclude<Node, Alias>, at: number, path: string): void {
    const tag = findUnknownTag(node.tag, isMap(node) ? "map" : isSeq(node) ? "seq" : "scalar");
    if (tag !== undefined) this.#fault("value", at, path, `has the tag ${tag}, which means nothing here; leave it out`);
  }

  #scalar(node: Node, at: number, path: string): [unknown, Place] {
    if (!isScalar(node)) return [null, at];
    const resolved = resolveScalar(node);
    if (resolved.ok) return [resolved.value, at];
    this.#fault("value", at, path, `cannot be read: ${resolved.because}`);
    return [null, at];
  }

  #fault(code: ReadFault["code"], at: number, path: string, message: string): void {
    this.#faults.push({ at, code, path, message: path === "" ? message : `${renderPath(path)}: ${message}` });
  }
}

function resolveScalar(node: ScalarNode): ScalarResult {
  const text = typeof node.value === "string" ? node.value : (node.source ?? "");
  if (node.tag !== undefined) return resolveTagged(node.tag, text);
  return node.type === "PLAIN" || node.type === undefined ? resolvePlain(text) : { ok: true, value: text };
}

function isMergeKey(node: Node | null): boolean {
  return isScalar(node) && node.type === "PLAIN" && node.value === "<<";
}

/** A plain assignment, except that `__proto__` is a name like any other. */
export function setField(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__")
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  else target[key] = value;
}

function syntaxFault(at: number, message: string): ReadFault {
  return { at, code: "syntax", path: "", message: `parse YAML: ${message.charAt(0).toLowerCase()}${message.slice(1)}` };
}

export function tooDeep(at: number, path: string): ReadFault {
  return { at, code: "too-large", path, message: `parse: nested more than ${maxDepth} levels deep` };
}

export { maxDepth, maxValues, placeOffset };
