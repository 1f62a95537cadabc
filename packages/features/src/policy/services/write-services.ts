import { encodeServiceDirectory, encodeServicePort, policyLayout } from "../generated/policy.ts";
import { bucketCountFor, fillBuckets, type Buckets } from "../table/buckets.ts";
import { hashAddress } from "../table/hash.ts";
import { PolicyTableLimitError } from "../table/policy-table.ts";
import type { WrittenTable } from "../table/write-table.ts";
import { placeWords, type Places, type ServiceTable } from "./service-table.ts";

const lineWords = policyLayout.line_bytes / 4;
const entryWords = 6;
const backendWords = 8;
const backendsInLine = policyLayout.service_backends;
/** What the kernel's search goes through. */
const mostBackends = 65_535;
const mostLines = 1 << 22;
const attempts = 12;

/** Lays the Services out for the kernel: bpf/include/policy-service.h. */
export function writeServices(table: ServiceTable): WrittenTable {
  const { seed, buckets } = hashPlaces(table);
  const entriesAt = 1;
  const portsAt = entriesAt + buckets.lineCount;
  let lineCount = portsAt + table.ports.length;
  const backendsAt = table.ports.map(({ backends }) => {
    const count = backends.length / placeWords;
    if (count > mostBackends)
      throw new PolicyTableLimitError(`write the Services: ${count} back ends of one, ${mostBackends} at most`);
    const at = lineCount;
    lineCount += Math.ceil(count / backendsInLine);
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
  let entry = 0;
  for (const [index, { places, protocol }] of table.ports.entries()) {
    for (let at = 0; at < places.length; at += placeWords, entry++) {
      const line = (entriesAt + (buckets.lines[entry] ?? 0)) * lineWords;
      const word = line + (buckets.places[entry] ?? 0) * entryWords;
      writeAddress(words, word, places, at);
      words[word + 4] = markOf(places, at, protocol);
      words[word + 5] = portsAt + index;
    }
  }
  for (let at = 0; at < buckets.links.length; at += 2) {
    const link = (entriesAt + (buckets.links[at] ?? 0)) * lineWords + policyLayout.service_ways * entryWords;
    words[link] = entriesAt + (buckets.links[at + 1] ?? 0);
  }
  for (const [at, { id, affinitySeconds = 0, backends }] of table.ports.entries()) {
    const first = backendsAt[at] ?? 0;
    const unused = Array.from({ length: 11 }, () => 0);
    encodeServicePort(
      { id, backends: first, backendCount: backends.length / placeWords, affinitySeconds, unused },
      view,
      (portsAt + at) * policyLayout.line_bytes,
    );
    for (let place = 0; place < backends.length; place += placeWords) {
      const word = first * lineWords + (place / placeWords) * backendWords;
      writeAddress(words, word, backends, place);
      words[word + 4] = backends[place + 4] ?? 0;
    }
  }
  return { lines, lineCount };
}

/** Two words of 64 bits in host order, the high one first. */
function writeAddress(words: Uint32Array, at: number, places: Places, place: number): void {
  words[at] = places[place + 1] ?? 0;
  words[at + 1] = places[place] ?? 0;
  words[at + 2] = places[place + 3] ?? 0;
  words[at + 3] = places[place + 2] ?? 0;
}

/** port << 16 | protocol */
function markOf(places: Places, place: number, protocol: number): number {
  return (((places[place + 4] ?? 0) << 16) | protocol) >>> 0;
}

/** With other seeds, and then with more buckets, until no bucket overflows. */
function hashPlaces({ ports, serial }: ServiceTable): { readonly seed: number; readonly buckets: Buckets } {
  const ways = policyLayout.service_ways;
  const hashes = new Uint32Array(ports.reduce((sum, { places }) => sum + places.length / placeWords, 0));
  let count = bucketCountFor(hashes.length, ways);
  for (let attempt = 0; attempt < attempts; attempt++) {
    const seed = Math.imul(Number(serial & 0xffff_ffffn) + attempt, 0x9e37_79b1) >>> 0;
    hashInto(hashes, ports, seed);
    const buckets = fillBuckets(hashes, ways, count);
    if (buckets) return { seed, buckets };
    if (attempt % 2 === 1) count *= 2;
  }
  throw new PolicyTableLimitError(
    `write the Services: ${hashes.length} addresses and ports find no place in ${attempts} attempts`,
  );
}

function hashInto(hashes: Uint32Array, ports: ServiceTable["ports"], seed: number): void {
  let entry = 0;
  for (const { places, protocol } of ports)
    for (let at = 0; at < places.length; at += placeWords)
      hashes[entry++] = hashAddress(
        seed,
        places[at] ?? 0,
        places[at + 1] ?? 0,
        places[at + 2] ?? 0,
        places[at + 3] ?? 0,
        markOf(places, at, protocol),
      );
}
