import { setTimeout as sleep } from "node:timers/promises";
import type { AddressSlice } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { isNewAddress } from "./lines.ts";

const slices = { group: "bpfleet.io", version: "v1alpha1", plural: "addressslices" };
/** An API server allows a hundred streams on one connection. */
const watchesOfClient = 80;
const silenceMs = 600_000;

/**
 * Holds the watch of so many agents that have read all slices: each reads what changes, and keeps nothing, since thousands
 * of copies of the addresses of a cluster do not fit into one machine. Resolves when all watch.
 */
export async function watchAddresses(
  connect: () => KubeClient,
  agents: number,
  onAddress: (address: string) => void,
): Promise<void> {
  let client = connect();
  const { resourceVersion } = await client.list<AnyObject>(slices, { limit: 1 });
  const opened: Promise<void>[] = [];
  for (let at = 0; at < agents; at++) {
    if (at > 0 && at % watchesOfClient === 0) client = connect();
    const { promise, resolve } = Promise.withResolvers<void>();
    opened.push(promise);
    void watch(client, resourceVersion, resolve, onAddress);
  }
  await Promise.all(opened);
}

async function watch(
  client: KubeClient,
  from: string,
  onOpen: () => void,
  onAddress: (address: string) => void,
): Promise<void> {
  const known = new Set<string>();
  let resourceVersion = from;
  const onEvent = (_type: string, slice: AnyObject): boolean => {
    resourceVersion = slice.metadata.resourceVersion ?? resourceVersion;
    for (const { ip } of (slice as AnyObject & AddressSlice).spec.addresses) {
      if (!isNewAddress(ip) || known.has(ip)) continue;
      known.add(ip);
      onAddress(ip);
    }
    return true;
  };
  for (;;) {
    try {
      await client.readEvents<AnyObject>(slices, { query: { resourceVersion }, silenceMs, onOpen, onEvent });
    } catch {
      await sleep(50);
    }
  }
}
