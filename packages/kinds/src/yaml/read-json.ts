import { joinPointer, renderPath } from "./places.ts";
import type { Place } from "./places.ts";
import { maxDepth, setField, tooDeep } from "./read-yaml.ts";
import type { ReadDocument, ReadFault } from "./read-yaml.ts";

/**
 * Reads JSON values standing one after the other, with the place of every field, which JSON.parse does
 * not tell. `undefined` when the text is no JSON: it may still be YAML in braces.
 */
export function readJson(text: string): readonly ReadDocument[] | undefined {
  const reader = new JsonReader(text);
  const documents: ReadDocument[] = [];
  try {
    while (!reader.atEnd()) documents.push(reader.document());
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
  return documents;
}

class NotJson extends Error {}

class JsonReader {
  readonly #text: string;
  #at = 0;
  #faults: ReadFault[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  atEnd(): boolean {
    this.#skipSpace();
    return this.#at >= this.#text.length;
  }

  document(): ReadDocument {
    this.#faults = [];
    const [value, place] = this.#value("", 0);
    return { value, place, faults: this.#faults };
  }

  #value(path: string, depth: number): [unknown, Place] {
    this.#skipSpace();
    const at = this.#at;
    if (depth > maxDepth) {
      const fault = tooDeep(at, path);
      this.#at = this.#text.length;
      this.#faults.push(fault);
      return [null, at];
    }
    switch (this.#text.charAt(at)) {
      case "{":
        return this.#object(path, depth);
      case "[":
        return this.#array(path, depth);
      case '"':
        return [this.#string(), at];
      default:
        return [this.#word(path), at];
    }
  }

  #object(path: string, depth: number): [unknown, Place] {
    const at = this.#at++;
    const value: Record<string, unknown> = {};
    const fields = new Map<string, Place>();
    if (this.#takes("}")) return [value, { at, fields }];
    do {
      this.#skipSpace();
      const keyAt = this.#at;
      const key = this.#string();
      const keyPath = joinPointer(path, key);
      this.#expect(":");
      const [field, place] = this.#value(keyPath, depth + 1);
      if (this.#stopped()) break;
      if (fields.has(key))
        this.#faults.push({
          at: keyAt,
          code: "duplicate-key",
          path: keyPath,
          message: `${renderPath(keyPath)}: is given twice; keep one`,
        });
      setField(value, key, field);
      fields.set(key, typeof place === "number" ? keyAt : { ...place, at: keyAt });
    } while (this.#takes(","));
    if (!this.#stopped()) this.#expect("}");
    return [value, { at, fields }];
  }

  #array(path: string, depth: number): [unknown, Place] {
    const at = this.#at++;
    const values: unknown[] = [];
    const items: Place[] = [];
    if (this.#takes("]")) return [values, { at, items }];
    do {
      const [value, place] = this.#value(joinPointer(path, items.length), depth + 1);
      if (this.#stopped()) break;
      values.push(value);
      items.push(place);
    } while (this.#takes(","));
    if (!this.#stopped()) this.#expect("]");
    return [values, { at, items }];
  }

  #string(): string {
    const from = this.#at;
    if (this.#text.charAt(from) !== '"') throw new NotJson();
    let to = from + 1;
    for (; to < this.#text.length && this.#text.charAt(to) !== '"'; to++) if (this.#text.charAt(to) === "\\") to++;
    this.#at = to + 1;
    return String(parseLiteral(this.#text.slice(from, to + 1)));
  }

  #word(path: string): unknown {
    const from = this.#at;
    while (/[-+.\w]/.test(this.#text.charAt(this.#at))) this.#at++;
    const word = this.#text.slice(from, this.#at);
    const value = parseLiteral(word);
    if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      this.#faults.push({
        at: from,
        code: "value",
        path,
        message: `${renderPath(path)}: cannot be read: the number ${word} is too large to be kept exactly; put it in quotes`,
      });
    }
    return value;
  }

  #stopped(): boolean {
    return this.#faults.at(-1)?.code === "too-large";
  }

  #takes(mark: string): boolean {
    this.#skipSpace();
    if (this.#text.charAt(this.#at) !== mark) return false;
    this.#at++;
    return true;
  }

  #expect(mark: string): void {
    if (!this.#takes(mark)) throw new NotJson();
  }

  #skipSpace(): void {
    while (/[ \t\r\n]/.test(this.#text.charAt(this.#at))) this.#at++;
  }
}

function parseLiteral(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new NotJson("", { cause });
  }
}
