import type { Btf } from "./btf.ts";
import { networkOrder } from "./layout.ts";

/** How people write some bytes, where type and name leave no doubt. */
export type SpecialForm = "ipv4" | "ipv6" | "mac" | "text" | "bytes";

const address = /(?:addr4?|address|(?:^|_)[sd]?ip(?:v?4)?|(?:^|_)(?:src|dst|gw|gateway|peer|remote|local))$/i;
const address6 = /(?:addr(?:_?v?6)?|address|(?:^|_)[sd]?ip(?:_?v?6)?)$/i;
const mac = /(?:^|_)(?:mac|[sd]mac|h_source|h_dest|eth_(?:src|dst|addr)|hwaddr|lladdr)$/i;

/** `undefined`: as its type says. */
export function specialForm(btf: Btf, typeId: number, fieldName: string): SpecialForm | undefined {
  const type = btf.resolved(typeId);
  if (type.kind === "int")
    return type.size === 4 && networkOrder(btf, typeId) && address.test(fieldName) ? "ipv4" : undefined;
  if ((type.kind === "struct" || type.kind === "union") && type.name === "in6_addr" && type.size === 16) return "ipv6";
  if (type.kind === "struct" && type.name === "in_addr" && type.size === 4) return "ipv4";
  if (type.kind !== "array") return undefined;
  const element = btf.resolved(type.type);
  if (networkOrder(btf, type.type) && element.size * type.count === 16 && address6.test(fieldName)) return "ipv6";
  if (element.kind !== "int" || element.size !== 1 || element.meaning === "bool") return undefined;
  if (element.name === "char" || element.meaning === "char") return "text";
  if (type.count === 6 && mac.test(fieldName)) return "mac";
  if (type.count === 16 && address6.test(fieldName)) return "ipv6";
  return "bytes";
}

/** Printable characters up to the first 0, and nothing but 0 from there on; `undefined` for anything else. */
export function findText(bytes: Uint8Array): string | undefined {
  let end = bytes.indexOf(0);
  if (end < 0) end = bytes.length;
  const text = String.fromCharCode(...bytes.subarray(0, end));
  if (!/^[\x20-\x7e]*$/.test(text) || text.startsWith("0x") || text.startsWith("0X")) return undefined;
  return bytes.subarray(end).every((byte) => byte === 0) ? text : undefined;
}
