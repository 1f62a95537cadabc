/** Keys by the time they are due; each key once, at the earliest time it was given. */
export class DueHeap {
  readonly #heap: { readonly key: string; readonly dueMs: number }[] = [];
  /** The truth; entries of the heap that differ from it are stale. */
  readonly #due = new Map<string, number>();

  get size(): number {
    return this.#due.size;
  }

  add(key: string, dueMs: number): void {
    const known = this.#due.get(key);
    if (known !== undefined && known <= dueMs) return;
    this.#due.set(key, dueMs);
    this.#heap.push({ key, dueMs });
    this.#rise(this.#heap.length - 1);
  }

  remove(key: string): void {
    this.#due.delete(key);
    this.#dropStale();
  }

  nextDueMs(): number {
    return this.#heap[0]?.dueMs ?? Infinity;
  }

  takeDue(nowMs: number): string | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.dueMs > nowMs) return undefined;
    this.#due.delete(first.key);
    this.#dropStale();
    return first.key;
  }

  clear(): void {
    this.#heap.length = 0;
    this.#due.clear();
  }

  #dropStale(): void {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (this.#due.get(first.key) === first.dueMs) return;
      const last = this.#heap.pop();
      if (last === undefined || this.#heap.length === 0) continue;
      this.#heap[0] = last;
      this.#sink(0);
    }
  }

  #rise(from: number): void {
    for (let at = from; at > 0;) {
      const parent = (at - 1) >> 1;
      if (this.#dueAt(parent) <= this.#dueAt(at)) return;
      this.#swap(parent, at);
      at = parent;
    }
  }

  #sink(from: number): void {
    const { length } = this.#heap;
    for (let at = from; ;) {
      const left = 2 * at + 1;
      let least = at;
      if (left < length && this.#dueAt(left) < this.#dueAt(least)) least = left;
      if (left + 1 < length && this.#dueAt(left + 1) < this.#dueAt(least)) least = left + 1;
      if (least === at) return;
      this.#swap(least, at);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const [first, second] = [this.#heap[a], this.#heap[b]];
    if (first === undefined || second === undefined) return;
    this.#heap[a] = second;
    this.#heap[b] = first;
  }

  #dueAt(index: number): number {
    return this.#heap[index]?.dueMs ?? Infinity;
  }
}
