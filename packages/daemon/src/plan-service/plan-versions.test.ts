import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodePlan } from "@bpfleet/kernel";
import { decodeValue, DocumentReader, encodeDifference, type HeldDocument, type OutgoingItem } from "@bpfleet/wire";
import { RemoteBench } from "../testing/remote-bench.ts";
import { instance, planOn } from "../testing/test-plans.ts";
import { until } from "../testing/until.ts";
import { factsItems, factsOf } from "./facts-document.ts";
import { hashItem, largestDocumentBytes } from "./protocol.ts";
import type { RemoteDaemon } from "./remote-daemon.ts";
import { resultsItems, resultsOf } from "./results-document.ts";

const complete = { complete: true } as const;

async function settle(daemon: RemoteDaemon, plan: NodePlan): Promise<void> {
  daemon.setPlan(plan, complete);
  await daemon.settled();
}

test("PlanServer serves an agent of the version before or after its own, and refuses others by name", async () => {
  await using bench = new RemoteBench();
  const serve = { oldest: 2, newest: 3 };
  await bench.serve({ protocols: serve });
  for (const protocols of [{ oldest: 1, newest: 2 }, { oldest: 3, newest: 4 }, serve]) {
    const agent = await bench.connect({ protocols });
    await settle(agent, planOn([]));
    await agent[Symbol.asyncDispose]();
  }
  for (const [protocols, saying] of [
    [
      { oldest: 1, newest: 1 },
      /drive daemon 0\.1\.0: agent 0\.1\.0 speaks protocol 1, this daemon 2 to 3; upgrade the agent/,
    ],
    [{ oldest: 4, newest: 5 }, /speaks protocol 4 to 5, this daemon 2 to 3; upgrade the daemon/],
  ] as const) {
    const abort = new AbortController();
    const connecting = bench.connect({ protocols, signal: abort.signal });
    await until("it is refused", () => bench.notices.some((notice) => saying.test(notice)));
    abort.abort(new Error("enough"));
    await assert.rejects(connecting, /enough/);
  }
});

test("PlanServer refuses a plan that says more than it knows, by item and field, and what is in force stays", async () => {
  await using bench = new RemoteBench();
  bench.node.world.addInterface("eth0");
  await bench.serve();
  const daemon = await bench.connect();
  const plan = planOn(["eth0"], { instances: [instance("i", 2)] });
  await settle(daemon, plan);
  const later = { a: 1 } as never;
  const [hook] = plan.hooks;
  assert.ok(hook !== undefined);
  const member = { ...hook.members[0], onlyWhen: later } as never;
  const newer: readonly (readonly [said: string, plan: NodePlan])[] = [
    [
      "maps .*: ofTheFuture means nothing",
      { ...plan, maps: plan.maps.map((each) => ({ ...each, ofTheFuture: later })) },
    ],
    [
      "maps .*: contents.ofTheFuture means nothing",
      { ...plan, maps: plan.maps.map((each) => ({ ...each, contents: { ...each.contents, ofTheFuture: later } })) },
    ],
    [
      "programs .*: ofTheFuture means nothing",
      { ...plan, programs: plan.programs.map((each) => ({ ...each, ofTheFuture: later })) },
    ],
    [
      "hooks xdp/eth0: members\\[1\\].onlyWhen means nothing",
      { ...plan, hooks: [{ ...hook, members: [...hook.members, member] }] },
    ],
    [
      "instances .*: ofTheFuture means nothing",
      { ...plan, instances: plan.instances.map((each) => ({ ...each, ofTheFuture: later })) },
    ],
    [
      "hooks netkit/eth0: there is no such hook",
      { ...plan, hooks: [{ key: "netkit/eth0", point: { hook: "netkit" } as never, members: [] }] },
    ],
  ];
  for (const [said, strange] of newer) {
    daemon.setPlan(strange, complete);
    await until(`it is refused: ${said}`, () =>
      new RegExp(`^read the plan: ${said} in this version; run agent and daemon of one version$`).test(
        daemon.results().trouble ?? "",
      ),
    );
    assert.equal(bench.node.world.hooks.size, 1, "what is in force stays");
    await settle(daemon, plan);
    assert.equal(daemon.results().trouble, undefined);
  }
});

test("RemoteDaemon reads a daemon that tells more than it knows, and counts nothing unknown as in force", async () => {
  await using bench = new RemoteBench();
  bench.node.world.addInterface("eth0");
  await bench.serve();
  const daemon = await bench.connect();
  await settle(daemon, planOn(["eth0"]));
  const told = { ...bench.node.daemon.facts(), ofTheFuture: { deep: [1] } };
  const read = factsOf(documentOf(factsItems(told)));
  assert.deepEqual({ ...read, ofTheFuture: undefined }, { ...bench.node.daemon.facts(), ofTheFuture: undefined });
  const results = bench.node.daemon.results();
  const items = results.items.map((each) => ({ ...each, state: "deferred" as never, later: 1 }));
  const later = resultsOf(documentOf(resultsItems({ ...results, items, ofTheFuture: 1 } as never)));
  assert.ok(later.items.length > 0 && later.items.every(({ state }) => state !== "in-force"));
});

test("RemoteDaemon drives no daemon whose programs are not those that it plans for, says so, and what is in force stays", async () => {
  await using bench = new RemoteBench();
  bench.node.world.addInterface("eth0");
  const objects = {
    filter: { digest: "d", layout: "theirs" },
    policy: { digest: "d", layout: "p" },
    old: { digest: "d" },
  };
  const facts = { ...bench.node.daemon.facts(), objects };
  bench.node.daemon.facts = () => facts;
  await bench.serve();
  const first = await bench.connect({ layouts: { filter: "theirs", old: "any", absent: "any" } });
  await settle(first, planOn(["eth0"]));
  await first[Symbol.asyncDispose]();
  const abort = new AbortController();
  const connecting = bench.connect({ layouts: { filter: "ours", policy: "p" }, signal: abort.signal });
  await until("it is told", () =>
    bench.notices.includes(
      "drive daemon 0.1.0: its programs filter are not those that agent 0.1.0 plans for; run agent and daemon of one version",
    ),
  );
  assert.equal(bench.node.world.hooks.size, 1);
  abort.abort(new Error("enough"));
  await assert.rejects(connecting, /enough/);
});

/** What the other end holds of a document. */
function documentOf(items: Iterable<OutgoingItem>): HeldDocument<unknown> {
  const reader = new DocumentReader<unknown>(undefined, {
    hash: hashItem,
    decode: decodeValue,
    largestBytes: largestDocumentBytes,
  });
  let held: HeldDocument<unknown> | undefined;
  for (const frame of encodeDifference(undefined, [...items], hashItem)) held = reader.take(frame);
  return held ?? assert.fail("the document is cut short");
}
