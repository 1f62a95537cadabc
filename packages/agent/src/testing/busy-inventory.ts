import type { Inventory } from "@bpfleet/kernel";

const [programs, maps, links] = [40, 60, 40];

/** What a node of ordinary size has in its kernel, whose programs have run for each of so many packets. */
export function busyInventory(packets: number): Inventory {
  return {
    programs: Array.from({ length: programs }, (_, at) => ({
      id: 100 + at,
      type: at % 2 === 0 ? "xdp" : "sched_cls",
      name: `program_${at}`,
      tag: "0123456789abcdef",
      loadedAt: "2026-01-01T00:00:00Z",
      uid: 0,
      mapIds: [200 + at],
      runCount: BigInt(packets + at),
      runTimeNs: BigInt(90 * packets),
      verifiedInsns: 2500,
      jitedBytes: 4000,
      ours: `program/${at}@1`,
    })),
    maps: Array.from({ length: maps }, (_, at) => ({
      id: 200 + at,
      type: "percpu_hash",
      name: `map_${at}`,
      definition: { keySize: 16, valueSize: 32, maxEntries: 65_536, flags: 0 },
      ours: `map/${at}@1`,
    })),
    links: Array.from({ length: links }, (_, at) => ({
      id: 300 + at,
      type: "tcx",
      programId: 100 + at,
      target: `eth${at} ingress`,
      ours: `link/${at}`,
    })),
  };
}
