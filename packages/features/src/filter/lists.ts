import { fingerprint, type ObjectRef } from "@bpfleet/base";
import type { MapSpec } from "@bpfleet/kernel";
import { filterMaps, type FilterGlobals } from "./generated/filter.ts";
import type { Prefix } from "./intent.ts";
import { sortPrefixes } from "./prefix-list.ts";
import { buildPrefixTrie, type PrefixTrie } from "./prefix-trie.ts";

/** The program's own list: per address family one sealed map, and the variables that tell how to enter it. */
export interface PlannedLists {
  readonly maps: readonly MapSpec[];
  /** Map name in the object → key. */
  readonly names: Readonly<Record<string, string>>;
  readonly globals: Partial<FilterGlobals>;
  readonly counts: { readonly ipv4: number; readonly ipv6: number };
}

export function planLists(
  key: string,
  listed: readonly { readonly prefix: Prefix; readonly rule: number }[],
  owner: ObjectRef,
): PlannedLists {
  const list4 = sortPrefixes(
    listed.filter(({ prefix }) => prefix.family === 4),
    4,
  );
  const list6 = sortPrefixes(
    listed.filter(({ prefix }) => prefix.family === 6),
    6,
  );
  const counts = { ipv4: list4.count, ipv6: list6.count };
  const maps: MapSpec[] = [];
  const names: Record<string, string> = {};
  let globals: Partial<FilterGlobals> = {};
  const add = (name: "list4" | "list6", trie: PrefixTrie): void => {
    maps.push(sealTrie(`${key}/${name}`, name, trie, owner));
    names[name] = `${key}/${name}`;
  };
  if (list4.count > 0) {
    const trie = buildPrefixTrie(list4);
    add("list4", trie);
    globals = {
      ...globals,
      has_list4: true,
      list4_path: trie.rootPath,
      list4_skip: trie.rootSkip,
      list4_bits: trie.directBits,
      list4_last_node: trie.lastNode,
      list4_depth: trie.depth,
    };
  }
  if (list6.count > 0) {
    const trie = buildPrefixTrie(list6);
    add("list6", trie);
    globals = {
      ...globals,
      has_list6: true,
      list6_path: trie.rootPath,
      list6_skip: trie.rootSkip,
      list6_bits: trie.directBits,
      list6_last_node: trie.lastNode,
      list6_depth: trie.depth,
    };
  }
  return { maps, names, globals, counts };
}

function sealTrie(key: string, name: "list4" | "list6", trie: PrefixTrie, owner: ObjectRef): MapSpec {
  const count = trie.bytes.length / trie.chunkBytes;
  const keys = Uint32Array.from({ length: count }, (_, index) => index);
  return {
    key,
    name,
    definition: { ...filterMaps[name], valueSize: trie.chunkBytes, maxEntries: count },
    contents: {
      kind: "sealed",
      digest: fingerprint(trie.bytes),
      entries: { count, keys: new Uint8Array(keys.buffer), values: trie.bytes },
    },
    owner,
  };
}
