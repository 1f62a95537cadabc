type Init = PlainHeaders | Readonly<Record<string, string>> | Iterable<readonly [string, string]>;

/** Fields of a message of HTTP by name, as far as gRPC needs the `Headers` of the Fetch standard. */
export class PlainHeaders {
  readonly #fields = new Map<string, string[]>();

  constructor(init: Init = {}) {
    const pairs = Symbol.iterator in init ? init : Object.entries(init);
    for (const [name, value] of pairs) this.append(name, value);
  }

  append(name: string, value: string | number): void {
    const key = nameOf(name);
    const values = this.#fields.get(key);
    if (values === undefined) this.#fields.set(key, [valueOf(key, value)]);
    else values.push(valueOf(key, value));
  }

  set(name: string, value: string | number): void {
    const key = nameOf(name);
    this.#fields.set(key, [valueOf(key, value)]);
  }

  get(name: string): string | null {
    return this.#fields.get(nameOf(name))?.join(", ") ?? null;
  }

  has(name: string): boolean {
    return this.#fields.has(nameOf(name));
  }

  delete(name: string): void {
    this.#fields.delete(nameOf(name));
  }

  getSetCookie(): string[] {
    return [...(this.#fields.get(cookie) ?? [])];
  }

  /** By name; each cookie alone, everything else joined. */
  *entries(): Generator<[string, string], undefined> {
    for (const [name, values] of [...this.#fields].toSorted(([a], [b]) => (a < b ? -1 : 1)))
      for (const value of name === cookie ? values : [values.join(", ")]) yield [name, value];
  }

  *keys(): Generator<string, undefined> {
    for (const [name] of this) yield name;
  }

  *values(): Generator<string, undefined> {
    for (const [, value] of this) yield value;
  }

  forEach(callback: (value: string, name: string, headers: this) => void, self?: unknown): void {
    for (const [name, value] of this) callback.call(self, value, name, this);
  }

  [Symbol.iterator](): Generator<[string, string], undefined> {
    return this.entries();
  }
}

/** Node's own bring all of `fetch` along, which costs a process 2 MiB. For programs that use it for nothing else. */
export function usePlainHeaders(): void {
  Object.assign(globalThis, { Headers: PlainHeaders });
}

const cookie = "set-cookie";

function nameOf(name: string): string {
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw new TypeError(`read a header: ${JSON.stringify(name)} is no name`);
  return name.toLowerCase();
}

function valueOf(name: string, value: string | number): string {
  const text = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  // eslint-disable-next-line no-control-regex -- these are what it is about
  if (/[\0\r\n]|[^\0-\xff]/.test(text)) throw new TypeError(`read header ${name}: its value cannot be sent`);
  return text;
}
