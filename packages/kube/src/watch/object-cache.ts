import type { ApiObject } from "../api-object.ts";
import { keyOf, objectKey } from "../api-object.ts";

export type CacheChange<T extends ApiObject> =
  | { readonly type: "added"; readonly key: string; readonly object: T }
  | { readonly type: "updated"; readonly key: string; readonly object: T; readonly before: T }
  /** `isLastState` is false when the object went while nobody watched: then it is the last that was seen of it. */
  | { readonly type: "deleted"; readonly key: string; readonly object: T; readonly isLastState: boolean };

/** The values under which an object is found in an index. */
export type Indexer<T extends ApiObject> = (object: T) => readonly string[];

/** The objects of one collection as they were last seen, with indexes. */
export class ObjectCache<T extends ApiObject> {
  #objects = new Map<string, T>();
  readonly #indexers: ReadonlyMap<string, Indexer<T>>;
  readonly #indexes: ReadonlyMap<string, Map<string, Set<string>>>;

  constructor(indexers: Readonly<Record<string, Indexer<T>>> = {}) {
    this.#indexers = new Map(Object.entries(indexers));
    this.#indexes = new Map(Object.keys(indexers).map((name) => [name, new Map<string, Set<string>>()]));
  }

  get size(): number {
    return this.#objects.size;
  }

  find(key: string): T | undefined {
    return this.#objects.get(key);
  }

  get(namespace: string | undefined, name: string): T | undefined {
    return this.#objects.get(keyOf(namespace, name));
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  byIndex(index: string, value: string): T[] {
    const keys = this.#index(index).get(value);
    if (keys === undefined) return [];
    return [...keys].flatMap((key) => this.#objects.get(key) ?? []);
  }

  indexValues(index: string): string[] {
    return [...this.#index(index).keys()];
  }

  upsert(object: T): readonly CacheChange<T>[] {
    const key = objectKey(object);
    const before = this.#objects.get(key);
    this.#put(key, object, before);
    return changesBetween(key, before, object);
  }

  /** `object` is the last state, when the server told it. */
  remove(object: T): readonly CacheChange<T>[] {
    const key = objectKey(object);
    const before = this.#objects.get(key);
    if (before === undefined) return [];
    this.#drop(key, before);
    return [{ type: "deleted", key, object, isLastState: true }];
  }

  /** Takes over a whole list; what is not in it was deleted unseen. */
  replace(objects: ReadonlyMap<string, T>): readonly CacheChange<T>[] {
    const changes: CacheChange<T>[] = [];
    for (const [key, before] of this.#objects) {
      if (objects.has(key)) continue;
      this.#drop(key, before);
      changes.push({ type: "deleted", key, object: before, isLastState: false });
    }
    for (const [key, object] of objects) {
      const before = this.#objects.get(key);
      if (before !== undefined && isSame(before, object)) continue;
      this.#put(key, object, before);
      changes.push(...changesBetween(key, before, object));
    }
    return changes;
  }

  #put(key: string, object: T, before: T | undefined): void {
    if (before !== undefined) this.#unindex(key, before);
    this.#objects.set(key, object);
    for (const [name, indexer] of this.#indexers) {
      const index = this.#index(name);
      for (const value of indexer(object)) {
        const keys = index.get(value);
        if (keys === undefined) index.set(value, new Set([key]));
        else keys.add(key);
      }
    }
  }

  #drop(key: string, before: T): void {
    this.#unindex(key, before);
    this.#objects.delete(key);
  }

  #unindex(key: string, before: T): void {
    for (const [name, indexer] of this.#indexers) {
      const index = this.#index(name);
      for (const value of indexer(before)) {
        const keys = index.get(value);
        if (keys?.delete(key) === true && keys.size === 0) index.delete(value);
      }
    }
  }

  #index(name: string): Map<string, Set<string>> {
    const index = this.#indexes.get(name);
    if (index === undefined)
      throw new RangeError(`look up index ${name}: there is none; name it when the cache is made`);
    return index;
  }
}

function isSame(a: ApiObject, b: ApiObject): boolean {
  return a.metadata.uid === b.metadata.uid && a.metadata.resourceVersion === b.metadata.resourceVersion;
}

/** Another uid under the same name is another object: the old one was deleted unseen. */
function changesBetween<T extends ApiObject>(key: string, before: T | undefined, object: T): readonly CacheChange<T>[] {
  if (before === undefined) return [{ type: "added", key, object }];
  if (before.metadata.uid === object.metadata.uid) return [{ type: "updated", key, object, before }];
  return [
    { type: "deleted", key, object: before, isLastState: false },
    { type: "added", key, object },
  ];
}
