import type { Prefix } from "@bpfleet/features";

export type PrefixReading =
  | {
      readonly ok: true;
      readonly prefix: Prefix;
      /** Bits past the prefix length were set; `prefix` has them cleared. */
      readonly hadHostBits: boolean;
    }
  /** `because` follows "is …: ". */
  | { readonly ok: false; readonly because: string };

/** Reads an IPv4 or IPv6 address (its whole length) or a CIDR; the forms that Kubernetes' CEL `isIP` and `isCIDR` take. */
export function parsePrefix(text: string): PrefixReading {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (typeof address === "string") return { ok: false, because: address };
  const family = address.length === 4 ? 4 : 6;
  const bits = address.length * 8;
  if (slash < 0) return { ok: true, prefix: { family, bytes: address, length: bits }, hadHostBits: false };
  const written = text.slice(slash + 1);
  if (!/^(?:0|[1-9]\d{0,2})$/.test(written) || Number(written) > bits) {
    return { ok: false, because: `the length after the slash must be 0 to ${bits}` };
  }
  const length = Number(written);
  const masked = maskBytes(address, length);
  return {
    ok: true,
    prefix: { family, bytes: masked, length },
    hadHostBits: masked.some((byte, at) => byte !== address[at]),
  };
}

/** `10.10.10.0/24`; a whole address without its length. */
export function renderPrefix(prefix: Prefix): string {
  const address = renderAddress(prefix.bytes);
  return prefix.length === prefix.bytes.length * 8 ? address : `${address}/${prefix.length}`;
}

/** Of 4 or 16 bytes; IPv6 as RFC 5952 writes it. */
export function renderAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0));
  const words = groups.map((group) => group.toString(16));
  const { from, length } = longestZeros(groups);
  if (length < 2) return words.join(":");
  return `${words.slice(0, from).join(":")}::${words.slice(from + length).join(":")}`;
}

export function maskBytes(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, length - at * 8))) & 0xff);
}

function longestZeros(groups: readonly number[]): { from: number; length: number } {
  let best = { from: 0, length: 0 };
  for (let from = 0; from < groups.length; from++) {
    let to = from;
    while (to < groups.length && groups[to] === 0) to++;
    if (to - from > best.length) best = { from, length: to - from };
    from = Math.max(from, to - 1);
  }
  return best;
}

/** The bytes, or what is wrong. */
function parseAddress(text: string): Uint8Array | string {
  const plain = parsePlainIpv4(text);
  if (plain !== undefined) return plain;
  if (text.includes(":")) return parseIpv6(text);
  const parts = text.split(".");
  if (!/^[\d.]+$/.test(text)) return "it is no IP address; host names are not looked up";
  if (parts.length !== 4) return `an IPv4 address has 4 numbers, this has ${parts.length}`;
  const wrong = parts.find((part) => !/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255);
  if (wrong !== undefined)
    return `${wrong === "" ? "an empty part" : wrong} is no number from 0 to 255${/^0\d/.test(wrong) ? " without leading zeros" : ""}`;
  return Uint8Array.from(parts, Number);
}

/** What almost all addresses of long lists are, in one pass; `undefined` leaves it to those who say what is wrong. */
function parsePlainIpv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let part = 0;
  let value = 0;
  let digits = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 46) {
      if (digits === 0 || part === 3) return undefined;
      bytes[part++] = value;
      value = 0;
      digits = 0;
    } else if (code >= 48 && code <= 57 && (digits === 0 || value > 0)) {
      value = value * 10 + code - 48;
      digits++;
      if (value > 255) return undefined;
    } else return undefined;
  }
  if (part !== 3 || digits === 0) return undefined;
  bytes[3] = value;
  return bytes;
}

function parseIpv6(text: string): Uint8Array | string {
  if (text.includes("%")) return "an address with a zone is of one interface only; leave the zone off";
  const halves = text.split("::");
  if (halves.length > 2) return "it has :: more than once";
  const [head, tail] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const written = [...(head ?? []), ...(tail ?? [])];
  const last = written.at(-1) ?? "";
  const embedded = last.includes(".") ? parseAddress(last) : undefined;
  if (typeof embedded === "string") return embedded;
  const words = embedded === undefined ? written : written.slice(0, -1);
  const wrong = words.find((word) => !/^[0-9a-fA-F]{1,4}$/.test(word));
  if (wrong !== undefined) return `${wrong === "" ? "an empty part" : wrong} is no group of 1 to 4 hexadecimal digits`;
  const groups = written.length + (embedded === undefined ? 0 : 1);
  if (tail === undefined ? groups !== 8 : groups > 7) return `an IPv6 address has 8 groups, this has ${groups}`;
  const bytes = new Uint8Array(16);
  const headLength = head?.length ?? 0;
  for (const [index, word] of words.entries()) {
    const group = index < headLength ? index : 8 - groups + index;
    bytes[group * 2] = Number.parseInt(word, 16) >> 8;
    bytes[group * 2 + 1] = Number.parseInt(word, 16) & 0xff;
  }
  if (embedded !== undefined) bytes.set(embedded, 12);
  const isMapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  return isMapped ? `it is an IPv4 address in IPv6 form; write ${renderAddress(bytes.subarray(12))}` : bytes;
}
