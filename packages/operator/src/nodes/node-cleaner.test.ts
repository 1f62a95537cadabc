import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, type AnyObject } from "@bpfleet/kube";
import { systemTiming, type KubeClient } from "@bpfleet/kube-client";
import { Activity } from "../run/activity.ts";
import type { Teller } from "../run/part.ts";
import { NodeCleaner } from "./node-cleaner.ts";

test("NodeCleaner removes what gone nodes left, also beside what it is refused", async () => {
  const gone: string[] = [];
  const told: string[] = [];
  const teller: Teller = {
    wrote: (verb, what) => gone.push(`${verb} ${what}`),
    failed: (_part, { error }) => told.push(String(error)),
    fault: (error) => assert.fail(error),
    happened: () => {},
    note: () => {},
  };
  const client: Partial<Record<keyof KubeClient, unknown>> = {
    delete: async ({ name }: { readonly name: string }) => {
      if (name !== "n1") return true;
      throw new ApiError("delete n1: a webhook refuses it", {
        code: "api-forbidden",
        status: 403,
        reason: "Forbidden",
        retry: "when-changed",
      });
    },
  };
  const synced = async (): Promise<void> => {};
  const states = ["n0", "n1", "n2", "n3"].map((name): AnyObject => {
    return { apiVersion: "bpfleet.io/v1alpha1", kind: "NodeState", metadata: { name, uid: name } };
  });
  const activity = new Activity();
  activity.decide(true);
  await using cleaner = new NodeCleaner({
    client: client as unknown as KubeClient,
    nodes: { size: 1, synced, has: (name) => name === "n0", list: () => [], onChange: () => {} },
    programs: { synced, all: () => [], onDeletion: () => {} },
    states: { synced, list: () => states },
    teller,
    timing: systemTiming,
    activity,
    graceMs: 1,
  });
  const stop = new AbortController();
  const leading = cleaner.lead(stop.signal);
  const end = performance.now() + 60_000;
  for (; told.length === 0; await new Promise((resolve) => setTimeout(resolve, 5)))
    assert.ok(performance.now() < end, "it is refused");
  stop.abort();
  await leading;
  assert.deepEqual(gone, ["delete NodeState n2", "delete NodeState n3"]);
  assert.match(told[0] ?? "", /a webhook refuses it/);
});
