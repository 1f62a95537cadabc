import { openElf } from "@bpfleet/native";

const typeNames = [
  "UNSPEC",
  "HASH",
  "ARRAY",
  "PROG_ARRAY",
  "PERF_EVENT_ARRAY",
  "PERCPU_HASH",
  "PERCPU_ARRAY",
  "STACK_TRACE",
  "CGROUP_ARRAY",
  "LRU_HASH",
  "LRU_PERCPU_HASH",
  "LPM_TRIE",
  "ARRAY_OF_MAPS",
  "HASH_OF_MAPS",
  "DEVMAP",
  "SOCKMAP",
  "CPUMAP",
  "XSKMAP",
  "SOCKHASH",
];

/**
 * What to write in place of each map that is defined as before libbpf 1.0: `struct bpf_map_def SEC("maps")`.
 * Empty for objects without such maps.
 */
export function findLegacyMaps(elf: Uint8Array): { readonly name: string; readonly instead: string }[] {
  const file = openElf(elf);
  const section = file?.sections.findIndex(({ name }) => name === "maps") ?? -1;
  const place = file?.sections[section];
  if (file === undefined || place === undefined) return [];
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const symbols = file.symbols().filter((symbol) => symbol.section === section && symbol.name !== "");
  return symbols.map(({ name, value }) => {
    const at = place.offset + value;
    const field = (index: number): number =>
      at + index * 4 + 4 <= view.byteLength ? view.getUint32(at + index * 4, true) : 0;
    const type = typeNames[field(0)] ?? `${field(0)}`;
    const parts = [
      `__uint(type, BPF_MAP_TYPE_${type});`,
      `__uint(key_size, ${field(1)});`,
      `__uint(value_size, ${field(2)});`,
      `__uint(max_entries, ${field(3)});`,
      ...(field(4) === 0 ? [] : [`__uint(map_flags, ${field(4)});`]),
    ];
    return { name, instead: `struct { ${parts.join(" ")} } ${name} SEC(".maps");` };
  });
}
