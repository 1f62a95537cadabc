import assert from "node:assert/strict";
import { test } from "node:test";
import { packAddresses, type KnownAddress } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { systemTiming, type EventQuery, type KubeClient } from "@bpfleet/kube-client";
import { NodeRegister } from "../nodes/node-register.ts";
import { Activity } from "../run/activity.ts";
import type { Teller } from "../run/part.ts";
import { AddressPublisher } from "./address-publisher.ts";

const teller: Teller = {
  wrote: () => {},
  failed: (_part, { error }) => assert.fail(String(error)),
  fault: (error) => assert.fail(error),
  happened: () => {},
  note: () => {},
};

test("AddressPublisher writes what is moved to another slice before it removes the one that it was in", async () => {
  const known = (at: number): KnownAddress => ({
    of: "Pod",
    namespace: "shop",
    ip: `10.1.${at >> 8}.${at & 255}`,
    name: `web-${at}`,
    node: "n1",
    set: { labels: {} },
  });
  const { write: slices } = packAddresses(
    [],
    Array.from({ length: 500 }, (_, at) => known(at)),
  );
  // Of each slice a few are left.
  const pods = Array.from({ length: 25 }, (_, at) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `web-${at * 20}`, namespace: "shop", uid: `u${at}`, resourceVersion: "1" },
    spec: { nodeName: "n1", containers: [] },
    status: { podIPs: [{ ip: known(at * 20).ip }] },
  }));
  const there: Readonly<Record<string, readonly AnyObject[]>> = {
    addressslices: slices.map((slice) => ({ ...slice })),
    pods,
  };
  const done: string[] = [];
  const client: Partial<Record<keyof KubeClient, unknown>> = {
    readEvents: async ({ plural }: { readonly plural: string }, query: EventQuery<AnyObject>) => {
      query.onOpen?.();
      for (const object of there[plural] ?? [])
        query.onEvent("ADDED", {
          ...object,
          metadata: { uid: object.metadata.name, resourceVersion: "1", ...object.metadata },
        });
      const annotations = { "k8s.io/initial-events-end": "true" };
      const metadata = { name: "", resourceVersion: "1", annotations };
      query.onEvent("BOOKMARK", { apiVersion: "v1", kind: "Bookmark", metadata });
      await new Promise((resolve) => query.signal?.addEventListener("abort", resolve));
      return "server";
    },
    apply: async (_address: unknown, object: AnyObject) => {
      done.push(`apply ${object.metadata.name}`);
      return { ...object, metadata: { ...object.metadata, resourceVersion: "2" } };
    },
    delete: async ({ name }: { readonly name: string }) => {
      done.push(`delete ${name}`);
      return true;
    },
  };
  const activity = new Activity();
  activity.decide(true);
  await using nodes = new NodeRegister(client as unknown as KubeClient, teller);
  const options = { client: client as unknown as KubeClient, nodes, teller, timing: systemTiming, activity };
  await using publisher = new AddressPublisher(options);
  const stop = new AbortController();
  const leading = publisher.lead(stop.signal);
  const end = performance.now() + 60_000;
  for (; done.length < slices.length; await new Promise((resolve) => setTimeout(resolve, 5)))
    assert.ok(performance.now() < end, `it did ${done.join(", ")}`);
  stop.abort();
  await leading;
  assert.match(done.join(" "), /^apply pods-shop-\d(?: delete pods-shop-\d){4}$/);
});
