/** What an application sees of a map: `node read-map.ts PIN VIA KEY-IN-HEX KEY-IN-JSON`; prints JSON. */
import { MapError, openMap, type MapOptions } from "@bpfleet/client";

const [, , path = "", via = "either", hex = "", key = "null"] = process.argv;
const plain = (_name: string, value: unknown): unknown => (typeof value === "bigint" ? `${value}n` : value);
const sorted = (list: readonly unknown[]): readonly string[] =>
  list.map((each) => JSON.stringify(each, plain)).toSorted();

async function listOf<T>(from: AsyncIterable<T>): Promise<readonly T[]> {
  const list: T[] = [];
  for await (const each of from) list.push(each);
  return list;
}

async function read(): Promise<object> {
  using map = await openMap(path, { via: via as NonNullable<MapOptions["via"]> });
  const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
  return {
    via: map.via,
    keySize: map.keySize,
    valueSize: map.valueSize,
    types: map.types,
    keys: (await listOf(map.keys())).map((key) => key.toString("hex")).toSorted(),
    entries: sorted(await listOf(map.entries())),
    got: (await map.get(bytes))?.map((each) => each.toString("hex")),
    absent: (await map.get(new Uint8Array(map.keySize).fill(255))) ?? null,
    found: await map.find(JSON.parse(key)),
  };
}

try {
  process.stdout.write(JSON.stringify(await read(), plain));
} catch (error) {
  if (!(error instanceof MapError)) throw error;
  process.stdout.write(JSON.stringify({ code: error.code, message: error.message }));
}
