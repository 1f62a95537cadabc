/** Addresses as text and back. Text of other forms is `undefined`, never an error. */

export function renderIpv4(bytes: Uint8Array): string {
  return bytes.join(".");
}

export function parseIpv4(text: string): Uint8Array | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const parts = match?.slice(1).map(Number) ?? [];
  return match !== null && parts.every((part) => part <= 255) ? Uint8Array.from(parts) : undefined;
}

/** As RFC 5952 says. */
export function renderIpv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2] ?? 0) << 8) | (bytes[at * 2 + 1] ?? 0));
  let [start, length] = [-1, 1];
  for (let from = 0; from < 8; from++) {
    let run = 0;
    while (groups[from + run] === 0) run++;
    if (run > length) [start, length] = [from, run];
    from += run;
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  return start < 0 ? hex(0, 8) : `${hex(0, start)}::${hex(start + length, 8)}`;
}

export function parseIpv6(text: string): Uint8Array | undefined {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const tail = dotted === null ? undefined : parseIpv4(dotted[2] ?? "");
  if (dotted !== null && tail === undefined) return undefined;
  const hex = (at: number) => (((tail?.[at] ?? 0) << 8) | (tail?.[at + 1] ?? 0)).toString(16);
  const whole = dotted === null ? text : `${dotted[1]}${hex(0)}:${hex(2)}`;
  const halves = whole.split("::");
  if (halves.length > 2) return undefined;
  const [head = [], rest] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - head.length - (rest?.length ?? 0);
  if (rest === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...Array.from({ length: missing }, () => "0"), ...(rest ?? [])];
  if (!groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  return Uint8Array.from(
    groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]),
  );
}

export function renderMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}$/.test(text)) return undefined;
  return Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
}

/** `0x0a00…` or `0a 00 …` in the order of memory. */
export function parseHexBytes(text: string): Uint8Array | undefined {
  const digits = text.startsWith("0x") || text.startsWith("0X") ? text.slice(2) : text.replace(/[\s:]/g, "");
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) return undefined;
  return Uint8Array.from({ length: digits.length / 2 }, (_, at) =>
    Number.parseInt(digits.slice(at * 2, at * 2 + 2), 16),
  );
}
