import { encodeServiceDirectory, encodeServicePort, policyLayout } from "../generated/policy.ts";
import { wordsOf } from "../table/address-words.ts";
import { bucketCountFor, fillBuckets, type Buckets } from "../table/buckets.ts";
import { hashAddress } from "../table/hash.ts";
import { PolicyTableLimitError, type WrittenTable } from "../table/write-table.ts";
import { comparePlaces, type ServicePlace, type ServiceTable } from "./service-table.ts";

const lineWords = policyLayout.line_bytes / 4;
const entryWords = 6;
const backendWords = 8;
const backendsInLine = policyLayout.service_backends;
/** What the kernel's search goes through. */
const mostBackends = 65_535;
const mostLines = 1 << 22;
const attempts = 12;

interface Entry {
  readonly place: ServicePlace;
  /** port << 16 | protocol */
  readonly mark: number;
  readonly port: number;
}

/** Lays the Services out for the kernel: bpf/include/policy-service.h. */
export function writeServices(table: ServiceTable): WrittenTable {
  const entries = table.ports.flatMap(({ places, protocol }, port): Entry[] =>
    places.map((place) => ({ place, mark: ((place.port << 16) | protocol) >>> 0, port })),
  );
  const { seed, buckets } = hashEntries(entries, Number(table.serial & 0xffff_ffffn));
  const entriesAt = 1;
  const portsAt = entriesAt + buckets.lineCount;
  let lineCount = portsAt + table.ports.length;
  const backendsAt = table.ports.map(({ backends }) => {
    if (backends.length > mostBackends)
      throw new PolicyTableLimitError(
        `write the Services: ${backends.length} back ends of one, ${mostBackends} at most`,
      );
    const at = lineCount;
    lineCount += Math.ceil(backends.length / backendsInLine);
    return at;
  });
  if (lineCount > mostLines)
    throw new PolicyTableLimitError(`write the Services: they need ${lineCount} lines, ${mostLines} at most`);

  const lines = new Uint8Array(lineCount * policyLayout.line_bytes);
  const words = new Uint32Array(lines.buffer);
  const view = new DataView(lines.buffer);
  const directory = {
    serial: table.serial,
    hashSeed: seed,
    entries: entriesAt,
    entryMask: buckets.mask,
    unused: Array.from({ length: 11 }, () => 0),
  };
  encodeServiceDirectory(directory, view);
  for (const [at, { place, mark, port }] of entries.entries()) {
    const line = (entriesAt + (buckets.lines[at] ?? 0)) * lineWords;
    const word = line + (buckets.places[at] ?? 0) * entryWords;
    writeAddress(words, word, place);
    words[word + 4] = mark;
    words[word + 5] = portsAt + port;
  }
  for (let at = 0; at < buckets.links.length; at += 2) {
    const link = (entriesAt + (buckets.links[at] ?? 0)) * lineWords + policyLayout.service_ways * entryWords;
    words[link] = entriesAt + (buckets.links[at + 1] ?? 0);
  }
  for (const [at, { id, affinitySeconds = 0, backends }] of table.ports.entries()) {
    const first = backendsAt[at] ?? 0;
    const unused = Array.from({ length: 11 }, () => 0);
    encodeServicePort(
      { id, backends: first, backendCount: backends.length, affinitySeconds, unused },
      view,
      (portsAt + at) * policyLayout.line_bytes,
    );
    for (const [index, backend] of backends.toSorted(comparePlaces).entries()) {
      const word = first * lineWords + index * backendWords;
      writeAddress(words, word, backend);
      words[word + 4] = backend.port;
    }
  }
  return { lines, lineCount };
}

/** Two words of 64 bits in host order, the high one first. */
function writeAddress(words: Uint32Array, at: number, { bytes }: ServicePlace): void {
  const parts = new Uint32Array(4);
  wordsOf(bytes, 128, parts, 0);
  words.set([parts[1] ?? 0, parts[0] ?? 0, parts[3] ?? 0, parts[2] ?? 0], at);
}

/** With other seeds, and then with more buckets, until no bucket overflows. */
function hashEntries(entries: readonly Entry[], from: number): { readonly seed: number; readonly buckets: Buckets } {
  const ways = policyLayout.service_ways;
  let count = bucketCountFor(entries.length, ways);
  const parts = new Uint32Array(4);
  for (let attempt = 0; attempt < attempts; attempt++) {
    const seed = Math.imul(from + attempt, 0x9e37_79b1) >>> 0;
    const hashes = Uint32Array.from(entries, ({ place, mark }) => {
      wordsOf(place.bytes, 128, parts, 0);
      return hashAddress(seed, parts[0] ?? 0, parts[1] ?? 0, parts[2] ?? 0, parts[3] ?? 0, mark);
    });
    const buckets = fillBuckets(hashes, ways, count);
    if (buckets) return { seed, buckets };
    if (attempt % 2 === 1) count *= 2;
  }
  throw new PolicyTableLimitError(
    `write the Services: ${entries.length} addresses and ports find no place in ${attempts} attempts`,
  );
}
