/** One entry of a layer; `path` has no slash at its beginning. */
export type LayerEntry = LayerFile | LayerFolder | LayerLink;

export interface LayerFile extends LayerMode {
  readonly kind: "file";
  readonly bytes: Uint8Array;
  /** Numbers of capabilities that whoever runs the file may take, as far as the container has them. */
  readonly capabilities?: readonly number[];
}

export interface LayerFolder extends LayerMode {
  readonly kind: "folder";
}

export interface LayerLink {
  readonly kind: "link";
  readonly path: string;
  readonly target: string;
}

interface LayerMode {
  readonly path: string;
  readonly mode: number;
  /** Owner and group; root where left out. */
  readonly owner?: number;
}

const block = 512;
const typeFlags = { file: "0", link: "2", folder: "5", attributes: "x" } as const;

/**
 * The entries as a tar archive, with the folders that lead to them. The same entries give the same bytes,
 * on every machine and at every time: sorted, without a time, in the format of POSIX (ustar with pax).
 */
export function renderLayer(entries: readonly LayerEntry[]): Uint8Array {
  const byPath = new Map<string, LayerEntry>();
  for (const entry of entries) {
    for (const path of foldersTo(entry.path))
      if (!byPath.has(path)) byPath.set(path, { kind: "folder", path, mode: 0o755 });
    byPath.set(entry.path, entry);
  }
  const parts: Uint8Array[] = [];
  for (const entry of [...byPath.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    const attributes = attributesOf(entry);
    if (attributes.length > 0)
      parts.push(header("attributes", "attributes", 0o644, 0, attributes.length, ""), padded(attributes));
    const name = entry.kind === "folder" ? `${entry.path}/` : entry.path;
    const bytes = entry.kind === "file" ? entry.bytes : new Uint8Array();
    const mode = entry.kind === "link" ? 0o777 : entry.mode;
    const owner = entry.kind === "link" ? 0 : (entry.owner ?? 0);
    parts.push(header(entry.kind, name, mode, owner, bytes.length, entry.kind === "link" ? entry.target : ""));
    parts.push(padded(bytes));
  }
  parts.push(new Uint8Array(2 * block));
  return Buffer.concat(parts);
}

function foldersTo(path: string): string[] {
  const names = path.split("/").slice(0, -1);
  return names.map((_, at) => names.slice(0, at + 1).join("/"));
}

/** What has no room in a header, as `<length> <key>=<value>\n`. */
function attributesOf(entry: LayerEntry): Buffer {
  const records: Buffer[] = [];
  const name = entry.kind === "folder" ? `${entry.path}/` : entry.path;
  if (Buffer.byteLength(name) > 100) records.push(record("path", Buffer.from(name)));
  if (entry.kind === "link" && Buffer.byteLength(entry.target) > 100)
    records.push(record("linkpath", Buffer.from(entry.target)));
  if (entry.kind === "file" && entry.capabilities !== undefined)
    records.push(record("SCHILY.xattr.security.capability", renderCapabilities(entry.capabilities)));
  return Buffer.concat(records);
}

function record(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from("\n")]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** `struct vfs_cap_data` of revision 2: permitted only, so that the file also runs where some are withheld. */
function renderCapabilities(numbers: readonly number[]): Buffer {
  const bits = numbers.reduce((sum, number) => sum | (1n << BigInt(number)), 0n);
  const bytes = Buffer.alloc(20);
  bytes.writeUInt32LE(0x02000000, 0);
  bytes.writeUInt32LE(Number(bits & 0xffffffffn), 4);
  bytes.writeUInt32LE(Number(bits >> 32n), 12);
  return bytes;
}

function header(
  kind: keyof typeof typeFlags,
  name: string,
  mode: number,
  owner: number,
  size: number,
  target: string,
): Buffer {
  const bytes = Buffer.alloc(block);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, "0")}\0`;
  // A longer name stands in the attributes before; whoever does not read them gets its end.
  bytes.write(Buffer.from(name).subarray(-100).toString("latin1"), 0, "latin1");
  bytes.write(octal(mode, 7) + octal(owner, 7) + octal(owner, 7) + octal(size, 11) + octal(0, 11), 100);
  bytes.write(typeFlags[kind], 156);
  bytes.write(Buffer.from(target).subarray(0, 100).toString("latin1"), 157, "latin1");
  bytes.write("ustar\x0000", 257);
  bytes.fill(" ", 148, 156);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

function padded(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, new Uint8Array((block - (bytes.length % block)) % block)]);
}
