/** One file of a tar archive. */
export interface TarFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface TarEntry extends TarFile {
  readonly kind: "file" | "directory" | "symlink" | "hardlink" | "other";
}

const block = 512;

/** Throws `RangeError` with the reason when the bytes are no tar archive. Reads ustar, pax and GNU long names. */
export function readTar(bytes: Uint8Array): readonly TarEntry[] {
  const entries: TarEntry[] = [];
  let longName: string | undefined;
  let pax: Readonly<Record<string, string>> = {};
  for (let at = 0; at + block <= bytes.length;) {
    const header = bytes.subarray(at, at + block);
    if (header.every((byte) => byte === 0)) return entries;
    if (readOctal(header, 148, 8) !== checksum(header))
      throw new RangeError(`no tar header at byte ${at}: wrong checksum`);
    const size = pax["size"] === undefined ? readOctal(header, 124, 12) : Number(pax["size"]);
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`tar header at byte ${at} has no size`);
    const start = at + block;
    if (start + size > bytes.length) throw new RangeError(`the archive ends within the file at byte ${at}`);
    const content = bytes.subarray(start, start + size);
    at = start + Math.ceil(size / block) * block;
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === "x") {
      pax = readPax(content);
      continue;
    }
    if (type === "L") {
      longName = readText(content, 0, content.length);
      continue;
    }
    if (type === "g" || type === "K") continue;
    const prefix = readText(header, 257, 5) === "ustar" ? readText(header, 345, 155) : "";
    const short = readText(header, 0, 100);
    const name = pax["path"] ?? longName ?? (prefix === "" ? short : `${prefix}/${short}`);
    entries.push({ name, kind: kinds[type] ?? "other", bytes: content });
    longName = undefined;
    pax = {};
  }
  if (entries.length === 0) throw new RangeError("the archive is empty");
  return entries;
}

const kinds: Readonly<Record<string, TarEntry["kind"]>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  "1": "hardlink",
  "2": "symlink",
  "5": "directory",
};

/** The same files give the same bytes: no owner, no time, mode 0644. Names have at most 100 bytes. */
export function writeTar(files: readonly TarFile[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { name, bytes } of files) {
    const header = Buffer.alloc(block);
    if (Buffer.byteLength(name) > 100) throw new RangeError(`write tar: the name ${name} has more than 100 bytes`);
    header.write(name, 0);
    header.write("0000644\0" + "0000000\0" + "0000000\0", 100);
    header.write(`${bytes.length.toString(8).padStart(11, "0")}\0${"0".repeat(11)}\0`, 124);
    header.write("0", 156);
    header.write("ustar\x0000", 257);
    header.write(`${checksum(header).toString(8).padStart(6, "0")}\0 `, 148);
    parts.push(header, bytes, new Uint8Array((block - (bytes.length % block)) % block));
  }
  parts.push(new Uint8Array(2 * block));
  return Buffer.concat(parts);
}

/** Sum of the header with blanks for the sum itself. */
function checksum(header: Uint8Array): number {
  return header.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 0x20 : byte), 0);
}

function readOctal(bytes: Uint8Array, at: number, length: number): number {
  if (((bytes[at] ?? 0) & 0x80) !== 0) {
    // GNU: a number too large for octal digits, in binary.
    let value = (bytes[at] ?? 0) & 0x7f;
    for (let next = at + 1; next < at + length; next++) value = value * 256 + (bytes[next] ?? 0);
    return value;
  }
  const text = readText(bytes, at, length).trim();
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : text === "" ? 0 : Number.NaN;
}

function readText(bytes: Uint8Array, at: number, length: number): string {
  const field = bytes.subarray(at, at + length);
  const end = field.indexOf(0);
  return Buffer.from(end < 0 ? field : field.subarray(0, end)).toString();
}

/** `<length> <key>=<value>\n` records. */
function readPax(bytes: Uint8Array): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (let at = 0; at < bytes.length;) {
    const [, digits = ""] = /^(\d{1,9}) /.exec(Buffer.from(bytes.subarray(at, at + 10)).toString("latin1")) ?? [];
    const length = Number(digits);
    if (digits === "" || length <= digits.length + 1 || at + length > bytes.length)
      throw new RangeError("a pax header is broken");
    const record = Buffer.from(bytes.subarray(at + digits.length + 1, at + length - 1)).toString();
    const equals = record.indexOf("=");
    if (equals > 0) found[record.slice(0, equals)] = record.slice(equals + 1);
    at += length;
  }
  return found;
}
