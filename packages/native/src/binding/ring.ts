import { native } from "./addon.ts";
import type { NativeHandle, NativeRing } from "./addon.ts";
import { call } from "./bpf-error.ts";

const recordHeader = 8;

/** Records of a ring buffer; each is a view of one shared buffer. */
export class RingBatch implements Iterable<Buffer> {
  readonly buffer: Buffer;
  readonly count: number;

  constructor(buffer: Buffer, count: number) {
    this.buffer = buffer;
    this.count = count;
  }

  *[Symbol.iterator](): Generator<Buffer, void, undefined> {
    const { buffer } = this;
    for (let at = 0; at < buffer.length;) {
      const from = at + recordHeader;
      const length = buffer.readUInt32LE(at);
      yield buffer.subarray(from, from + length);
      at = from + Math.ceil(length / recordHeader) * recordHeader;
    }
  }
}

export class RingReader implements AsyncDisposable {
  readonly #ring: NativeRing;
  #isClosed = false;

  constructor(map: NativeHandle, onBatch: (records: RingBatch) => void, maxRecords: number, pollMs: number) {
    const deliver = (bytes: Buffer, count: number): void => {
      if (!this.#isClosed) onBatch(new RingBatch(bytes, count));
    };
    this.#ring = call(() => native().readRing(map, deliver, maxRecords, pollMs));
  }

  /** Records handed over so far, those still queued included. */
  get delivered(): bigint {
    return this.#ring.delivered;
  }

  /** After this no callback runs; resolves when the thread has let go of the map. */
  close(): Promise<void> {
    this.#isClosed = true;
    return call(() => this.#ring.close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
