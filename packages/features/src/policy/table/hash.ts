/** The hashes of bpf/include/policy-table.h, number by number, without bigints. */

const key1 = 0x9e3779b1;
const key2 = 0x85ebca77;
const key3 = 0xc2b2ae3d;
const key4 = 0x27d4eb2f;
const key5 = 0x165667b1;

function mix(high: number, low: number): number {
  let hash = Math.imul(high ^ low, key1);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, key2);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Upper half of a product of two numbers of 32 bits, whose lower half is `low`. */
function highOf(a: number, b: number, low: number): number {
  return Math.round((a * b - low) / 0x1_0000_0000);
}

export function hashPair(seed: number, a: number, b: number): number {
  const x = (a + ((seed ^ key1) >>> 0)) >>> 0;
  const y = (b + ((seed ^ key2) >>> 0)) >>> 0;
  const low = Math.imul(x, y) >>> 0;
  return mix(highOf(x, y, low), low);
}

/** Of an address in four words of 32 bits, the highest first. */
export function hashAddress(seed: number, w0: number, w1: number, w2: number, w3: number, length: number): number {
  const x = (w0 + Math.imul(length, key5) + ((seed ^ key1) >>> 0)) >>> 0;
  const y = (w1 + ((seed ^ key2) >>> 0)) >>> 0;
  const z = (w2 + ((seed ^ key3) >>> 0)) >>> 0;
  const w = (w3 + ((seed ^ key4) >>> 0)) >>> 0;
  const lowA = Math.imul(x, y) >>> 0;
  const lowB = Math.imul(z, w) >>> 0;
  const low = lowA + lowB;
  const carry = low > 0xffff_ffff ? 1 : 0;
  return mix((highOf(x, y, lowA) + highOf(z, w, lowB) + carry) | 0, low >>> 0);
}
