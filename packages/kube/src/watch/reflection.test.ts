import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { refusal, unanswered } from "../api-error.ts";
import type { ApiObject } from "../api-object.ts";
import { WatchWorld } from "../testing/watch-world.ts";
import { Reflection } from "./reflection.ts";
import type { NextStep } from "./reflection.ts";

test("Reflection ends with what the store holds, never goes back, and tells each change once, whatever breaks", () => {
  fc.assert(
    fc.property(
      fc.record({
        seed: fc.integer(),
        watchList: fc.constantFrom("served" as const, "refused" as const, "unknown" as const),
        faults: fc.constantFrom(0, 0.02, 0.2, 0.6),
        compaction: fc.constantFrom(0, 0.1, 0.5),
        usesWatchList: fc.boolean(),
        startFrom: fc.constantFrom("latest" as const, "any" as const),
        pageSize: fc.constantFrom(1, 2, 500),
      }),
      ({ seed, watchList, faults, compaction, usesWatchList, startFrom, pageSize }) => {
        const policy = { usesWatchList, startFrom, pageSize };
        const world = new WatchWorld({ seed, watchList, faults, compaction, policy });
        world.run(150);
        world.calm();
        world.run(30);
        assert.deepEqual(world.complaints, []);
        assert.deepEqual(
          new Map(world.cache.list().map((thing) => [thing.metadata.name, thing])),
          new Map(world.truth()),
        );
        assert.deepEqual(new Map(world.told), new Map(world.truth()));
        const even = [...world.truth().values()].filter(({ data }) => data % 2 === 0);
        assert.deepEqual(new Set(world.cache.byIndex("even", "true")), new Set(even));
        assert.ok(world.longestWaitMs <= 60_000, String(world.longestWaitMs));
      },
    ),
    { numRuns: 500 },
  );
});

const thing = (name: string, resourceVersion: string): ApiObject => ({
  apiVersion: "v1",
  kind: "Thing",
  metadata: { name, uid: name, resourceVersion },
});

function queryOf(step: NextStep): Readonly<Record<string, string>> {
  assert.ok(step.do !== "wait", `${step.do} is no request`);
  return step.query;
}

/** One that watches from version 10 on. */
function watching(policy: ConstructorParameters<typeof Reflection>[0] = {}): Reflection<ApiObject> {
  const reflection = new Reflection({ usesWatchList: false, ...policy });
  reflection.see({ saw: "items", items: [thing("a", "5")] }, 0);
  reflection.see({ saw: "page-end", resourceVersion: "10" }, 0);
  reflection.see({ saw: "opened" }, 0);
  return reflection;
}

test("Reflection asks for initial events first, and watches on in the same stream", () => {
  const reflection = new Reflection();
  assert.deepEqual(queryOf(reflection.next()), {
    watch: "true",
    allowWatchBookmarks: "true",
    timeoutSeconds: "300",
    sendInitialEvents: "true",
    resourceVersionMatch: "NotOlderThan",
  });
  reflection.see({ saw: "opened" }, 0);
  assert.equal(reflection.see({ saw: "event", type: "ADDED", object: thing("a", "5") }, 0), undefined);
  const end = {
    ...thing("", "9"),
    metadata: { name: "", resourceVersion: "9", annotations: { "k8s.io/initial-events-end": "true" } },
  };
  const whole = reflection.see({ saw: "event", type: "BOOKMARK", object: end }, 0);
  assert.deepEqual(whole, { change: "replace", objects: new Map([["a", thing("a", "5")]]), resourceVersion: "9" });
  assert.ok(reflection.wantsStream);
  const upsert = reflection.see({ saw: "event", type: "MODIFIED", object: thing("a", "11") }, 0);
  assert.deepEqual(upsert, { change: "upsert", object: thing("a", "11") });
});

test("Reflection lists where initial events are refused, where they never end, and after three streams of them broke", () => {
  for (const status of [400, 422]) {
    const refused = new Reflection();
    refused.see({ saw: "failed", error: refusal("watch", status, {}) }, 0);
    assert.deepEqual(refused.next(), { do: "list", query: { limit: "500" } });
  }
  const unknown = new Reflection();
  unknown.see({ saw: "opened" }, 0);
  unknown.see({ saw: "event", type: "BOOKMARK", object: thing("", "9") }, 0);
  assert.ok(!unknown.wantsStream);
  assert.equal(unknown.next().do, "list");
  const broken = new Reflection();
  for (let count = 0; count < 3; count++) {
    assert.equal(broken.next().do, "watch");
    broken.see({ saw: "opened" }, 0);
    broken.see({ saw: "ended", because: "cut" }, 0);
    broken.see({ saw: "waited" }, 0);
  }
  assert.equal(broken.next().do, "list");
});

test("Reflection reads page after page, and begins anew without pages when the first was forgotten meanwhile", () => {
  const reflection = new Reflection({ usesWatchList: false, pageSize: 2 });
  assert.deepEqual(queryOf(reflection.next()), { limit: "2" });
  reflection.see({ saw: "items", items: [thing("a", "1"), thing("b", "2")] }, 0);
  assert.equal(reflection.see({ saw: "page-end", resourceVersion: "7", next: "T" }, 0), undefined);
  assert.deepEqual(queryOf(reflection.next()), { limit: "2", continue: "T" });
  reflection.see({ saw: "failed", error: refusal("list", 410, {}) }, 0);
  reflection.see({ saw: "waited" }, 0);
  assert.deepEqual(queryOf(reflection.next()), {});
  reflection.see({ saw: "items", items: [thing("b", "2")] }, 0);
  const whole = reflection.see({ saw: "page-end", resourceVersion: "9" }, 0);
  assert.ok(whole?.change === "replace");
  assert.deepEqual([...whole.objects.keys()], ["b"]);
});

test("Reflection lists what the server remembers where that is enough, and never anything older than what it saw", () => {
  const reflection = new Reflection({ usesWatchList: false, startFrom: "any" });
  const first = { limit: "500", resourceVersion: "0", resourceVersionMatch: "NotOlderThan" };
  assert.deepEqual(queryOf(reflection.next()), first);
  reflection.see({ saw: "page-end", resourceVersion: "10" }, 0);
  reflection.see({ saw: "opened" }, 0);
  reflection.see({ saw: "failed", error: refusal("watch", 410, {}) }, 60_000);
  assert.deepEqual(queryOf(reflection.next()), { limit: "500" });
});

test("Reflection watches on from the last version after the usual end, at once", () => {
  const reflection = watching();
  reflection.see({ saw: "event", type: "MODIFIED", object: thing("a", "12") }, 5);
  reflection.see({ saw: "event", type: "BOOKMARK", object: thing("", "20") }, 6);
  reflection.see({ saw: "ended", because: "server" }, 7);
  assert.equal(queryOf(reflection.next())["resourceVersion"], "20");
  reflection.see({ saw: "opened" }, 10);
  reflection.see({ saw: "ended", because: "silence" }, 90_010);
  assert.equal(queryOf(reflection.next())["resourceVersion"], "20");
});

test("Reflection reads anew after three long watches in a row without so much as a bookmark", () => {
  const reflection = watching();
  let nowMs = 0;
  const watchInSilence = (): void => {
    reflection.see({ saw: "opened" }, nowMs);
    reflection.see({ saw: "ended", because: "silence" }, (nowMs += 90_000));
  };
  watchInSilence();
  watchInSilence();
  reflection.see({ saw: "opened" }, nowMs);
  reflection.see({ saw: "event", type: "BOOKMARK", object: thing("", "20") }, nowMs);
  reflection.see({ saw: "ended", because: "silence" }, (nowMs += 90_000));
  watchInSilence();
  watchInSilence();
  assert.equal(reflection.next().do, "watch");
  watchInSilence();
  reflection.see({ saw: "waited" }, nowMs);
  assert.deepEqual(reflection.next(), { do: "list", query: { limit: "500" } });
});

test("Reflection waits longer and longer while nothing comes of it, at most a minute, and briefly after it went well", () => {
  const reflection = watching();
  const error = unanswered("watch", "connect ECONNREFUSED");
  const waits = Array.from({ length: 9 }, () => {
    reflection.see({ saw: "failed", error }, 0);
    const step = reflection.next();
    reflection.see({ saw: "waited" }, 0);
    return step.do === "wait" ? step.ms : 0;
  });
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(queryOf(reflection.next())["resourceVersion"], "10");
  reflection.see({ saw: "opened" }, 0);
  reflection.see({ saw: "ended", because: "cut" }, 10_000);
  assert.deepEqual(reflection.next(), { do: "wait", ms: 500 });
});

test("Reflection spreads its waits by chance, and waits as long as the server asks for", () => {
  const reflection = new Reflection({ usesWatchList: false }, () => 0.5);
  reflection.see({ saw: "failed", error: refusal("list", 429, {}, 7000) }, 0);
  assert.deepEqual(reflection.next(), { do: "wait", ms: 10_500 });
});

test("Reflection waits no longer than it is told to while the server does not know the kind", () => {
  const reflection = new Reflection({ longestUnknownWaitMs: 1000 });
  const waits = [404, 404, 404, 404, 429, 429, 404].map((status, at) => {
    reflection.see({ saw: "failed", error: refusal("watch", status, {}) }, at);
    const step = reflection.next();
    reflection.see({ saw: "waited" }, at);
    return step.do === "wait" ? step.ms : step.do;
  });
  assert.deepEqual(waits, [500, 1000, 1000, 1000, 1000, 2000, 1000]);
});

test("Reflection keeps what it has while the kind is not served any more, and reads anew when it is again", () => {
  const reflection = watching();
  const see = (sight: Parameters<typeof reflection.see>[0], atMs: number): string | undefined =>
    reflection.see(sight, atMs)?.change;
  for (const atMs of [60_000, 70_000, 80_000]) {
    assert.deepEqual(see({ saw: "failed", error: refusal("watch", 404, {}) }, atMs), undefined);
    assert.equal(reflection.next().do, "wait");
    assert.deepEqual(see({ saw: "waited" }, atMs), undefined);
    assert.equal(queryOf(reflection.next())["resourceVersion"], "10");
  }
  see({ saw: "opened" }, 90_000);
  see({ saw: "failed", error: refusal("watch", 500, { code: 410, reason: "Expired" }) }, 90_001);
  see({ saw: "waited" }, 90_001);
  assert.equal(reflection.next().do, "list");
  assert.deepEqual(see({ saw: "page-end", resourceVersion: "30" }, 90_002), "replace");
});

test("Reflection takes a watch that ends at once, and with nothing in it, for a failure", () => {
  const reflection = watching();
  reflection.see({ saw: "ended", because: "server" }, 999);
  assert.equal(reflection.next().do, "wait");
});

test("Reflection begins anew when the version is forgotten, at once; when that does not end, with waits", () => {
  const reflection = watching();
  const gone = refusal("watch", 500, { code: 410, reason: "Expired" });
  reflection.see({ saw: "failed", error: gone }, 60_000);
  assert.equal(reflection.next().do, "list");
  reflection.see({ saw: "page-end", resourceVersion: "30" }, 60_000);
  reflection.see({ saw: "opened" }, 60_000);
  reflection.see({ saw: "failed", error: gone }, 60_001);
  assert.equal(reflection.next().do, "wait");
});

test("Reflection begins anew after anything it does not understand", () => {
  const cases: readonly ((reflection: Reflection<ApiObject>) => void)[] = [
    (reflection) => reflection.see({ saw: "ended", because: "garbage" }, 1),
    (reflection) => reflection.see({ saw: "event", type: "NEW", object: thing("a", "11") }, 1),
    (reflection) => reflection.see({ saw: "event", type: "ADDED", object: thing("", "11") }, 1),
    (reflection) => reflection.see({ saw: "event", type: "ADDED", object: thing("a", "") }, 1),
    (reflection) => reflection.see({ saw: "event", type: "ADDED", object: {} as ApiObject }, 1),
    // A store put back from a copy.
    (reflection) => reflection.see({ saw: "event", type: "ADDED", object: thing("a", "9") }, 1),
    (reflection) => reflection.see({ saw: "event", type: "BOOKMARK", object: thing("", "9") }, 1),
  ];
  for (const happen of cases) {
    const reflection = watching();
    assert.ok(reflection.wantsStream);
    happen(reflection);
    assert.ok(!reflection.wantsStream);
    assert.equal(reflection.next().do, "wait");
    reflection.see({ saw: "waited" }, 2);
    assert.deepEqual(reflection.next(), { do: "list", query: { limit: "500" } });
  }
});
