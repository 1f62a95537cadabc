/**
 * The Services that a node translates (docs/adr/0025-services-are-translated-at-the-pod.md), resolved: what
 * write-services.ts lays out in lines for the kernel.
 */
export interface ServiceTable {
  /** Tells tables apart. 64 bits, never 0. */
  readonly serial: bigint;
  readonly ports: readonly ServiceTablePort[];
}

/** One port of a Service in one family of addresses. */
export interface ServiceTablePort {
  /** Of all tables the same. 64 bits. */
  readonly id: bigint;
  /** By which clients know it; all in one family. */
  readonly places: readonly ServicePlace[];
  /** IP protocol. */
  readonly protocol: number;
  /** A client keeps its back end for so long after it last began something. */
  readonly affinitySeconds: number | undefined;
  /** Ready ones that clients on this node may get, each once. */
  readonly backends: readonly ServicePlace[];
}

export interface ServicePlace {
  /** 16 bytes in network order; IPv4 as ::ffff:a.b.c.d. */
  readonly bytes: Uint8Array;
  readonly port: number;
}

/** Ascending by address, then port, as the kernel looks for them. */
export function comparePlaces(a: ServicePlace, b: ServicePlace): number {
  for (let at = 0; at < 16; at++) {
    const difference = (a.bytes[at] ?? 0) - (b.bytes[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.port - b.port;
}
