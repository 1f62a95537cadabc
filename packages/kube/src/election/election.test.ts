import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ElectionWorld } from "../testing/election-world.ts";
import { Election } from "./election.ts";
import type { Lease } from "./lease.ts";
import { parseElection } from "./parse-election.ts";

const config = {
  isEnabled: true,
  namespace: "kube-system",
  name: "lock",
  identity: "me",
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryPeriodMs: 2000,
};

const time = (nowMs: number) => ({ nowMs, wallMs: 1_700_000_000_000 });

function leaseOf(holderIdentity: string, resourceVersion: string, leaseDurationSeconds = 15): Lease {
  const metadata = { name: "lock", namespace: "kube-system", uid: "u", resourceVersion };
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata,
    spec: { holderIdentity, leaseDurationSeconds, leaseTransitions: 4 },
  };
}

test("Election: two candidates never lead at once, whatever is delayed, lost or dies, and however clocks run", () => {
  fc.assert(
    fc.property(
      fc.record({
        seed: fc.integer(),
        candidates: fc.integer({ min: 2, max: 5 }),
        loss: fc.constantFrom(0, 0.05, 0.3, 0.7),
        death: fc.constantFrom(0, 0.01, 0.1),
        stop: fc.constantFrom(0, 0.02, 0.1),
        slowestMs: fc.constantFrom(10, 1000, 8000, 60_000),
      }),
      (chance) => {
        // 15 s of the fastest clock are longer than 10 s of the slowest.
        const world = new ElectionWorld({ ...chance, config, rates: [0.85, 1.2] });
        world.run(300_000);
        assert.deepEqual(world.overlaps, []);
        world.calm();
        world.run(60_000);
        assert.deepEqual(world.overlaps, []);
        assert.equal(world.leading().length, 1);
      },
    ),
    { numRuns: 300 },
  );
});

test("Election: with clocks that differ more than lease duration and deadline do, the world finds two leaders", () => {
  let overlaps = 0;
  for (let seed = 0; seed < 60 && overlaps === 0; seed++) {
    const chance = { seed, candidates: 4, loss: 0.5, death: 0, stop: 0, slowestMs: 2000 };
    const world = new ElectionWorld({ ...chance, config, rates: [0.4, 2] });
    world.run(600_000);
    overlaps += world.overlaps.length;
  }
  assert.ok(overlaps > 0);
});

test("Election: a lost leader is followed within lease duration and one look, 17 s with the documented times", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 0, max: 5000 }), (seed, atMs) => {
      const chance = { seed, candidates: 3, loss: 0, death: 0, stop: 0, slowestMs: 10 };
      const world = new ElectionWorld({ ...chance, config, rates: [1, 1] });
      world.calm();
      world.run(30_000 + atMs);
      const [lost] = world.leading();
      world.lose();
      world.run(12_000);
      assert.deepEqual(world.leading(), []);
      world.run(5000);
      assert.equal(world.leading().length, 1);
      assert.notEqual(world.leading()[0], lost);
    }),
  );
});

test("Election takes a lease that nobody holds at once, and says since when and how often it changed hands", () => {
  const election = new Election(config);
  assert.equal(election.next(time(0)).do, "read");
  election.see({ saw: "lease", lease: leaseOf("", "7", 1) }, 0);
  const step = election.next(time(0));
  assert.ok(step.do === "update");
  assert.deepEqual(step.lease.spec, {
    holderIdentity: "me",
    leaseDurationSeconds: 15,
    acquireTime: "2023-11-14T22:13:20.000000Z",
    renewTime: "2023-11-14T22:13:20.000000Z",
    leaseTransitions: 5,
  });
  assert.equal(step.lease.metadata.resourceVersion, "7");
});

test("Election takes its own lease back at once after a restart", () => {
  const election = new Election(config);
  election.next(time(0));
  election.see({ saw: "lease", lease: leaseOf("me", "7") }, 0);
  const step = election.next(time(0));
  assert.ok(step.do === "update");
  assert.equal(step.lease.spec?.leaseTransitions, 4);
  election.see({ saw: "written", lease: leaseOf("me", "8") }, 5);
  assert.ok(election.isLeader(5));
});

test("Election respects the lease of another for as long as its holder promised since it last changed", () => {
  const election = new Election(config);
  election.next(time(0));
  election.see({ saw: "lease", lease: leaseOf("other", "1") }, 0);
  assert.deepEqual(election.next(time(0)), { do: "wait", ms: 1500 });
  assert.equal(election.next(time(1500)).do, "read");
  election.see({ saw: "lease", lease: leaseOf("other", "2") }, 1500);
  for (let now = 1500; now < 16_500; now += 500) {
    const step = election.next(time(now));
    assert.ok(step.do === "wait" || step.do === "read", `${step.do} at ${now}`);
    if (step.do === "read") election.see({ saw: "lease", lease: leaseOf("other", "2") }, now);
  }
  assert.equal(election.next(time(16_500)).do, "update");
});

test("Election does not take a lease that vanishes while its holder may still lead", () => {
  const election = new Election(config);
  election.next(time(0));
  election.see({ saw: "lease", lease: leaseOf("other", "1") }, 0);
  election.next(time(0));
  election.next(time(1500));
  election.see({ saw: "lease", lease: undefined }, 1500);
  assert.equal(election.next(time(1500)).do, "wait");
  election.next(time(15_000));
  election.see({ saw: "lease", lease: undefined }, 15_000);
  assert.equal(election.next(time(15_000)).do, "create");
});

test("Election stops to lead ten seconds after the last renewal that succeeded was sent", () => {
  const election = new Election(config);
  election.next(time(0));
  election.see({ saw: "lease", lease: undefined }, 0);
  assert.equal(election.next(time(1000)).do, "create");
  election.see({ saw: "written", lease: leaseOf("me", "1") }, 4000);
  assert.ok(election.isLeader(10_999));
  assert.ok(!election.isLeader(11_000));
  assert.deepEqual(election.next(time(2000)), { do: "wait", ms: 1000 });
  assert.equal(election.next(time(4000)).do, "update");
  election.see({ saw: "failed" }, 4100);
  assert.deepEqual(election.next(time(4100)), { do: "wait", ms: 1400 }, "asked again no sooner than a retry period");
  assert.equal(election.next(time(5500)).do, "read");
  election.see({ saw: "failed" }, 9000);
  assert.ok(election.isLeader(10_999));
  assert.deepEqual(election.next(time(9000)), { do: "read", timeoutMs: 2000 }, "it waited long enough");
  const retry = election.next(time(10_600));
  assert.deepEqual(retry, { do: "read", timeoutMs: 400 });
});

test("Election reads again at once when its write was refused", () => {
  const election = new Election(config);
  election.next(time(0));
  election.see({ saw: "lease", lease: undefined }, 0);
  assert.equal(election.next(time(0)).do, "create");
  election.see({ saw: "conflict" }, 10);
  assert.equal(election.next(time(10)).do, "read");
});

test("Election releases its own lease only, and does not lead from then on", () => {
  const election = new Election(config);
  election.next(time(0));
  election.see({ saw: "lease", lease: leaseOf("me", "7") }, 0);
  election.next(time(0));
  election.see({ saw: "written", lease: leaseOf("me", "8") }, 5);
  const released = election.release(time(10));
  assert.equal(released?.spec?.holderIdentity, "");
  assert.equal(released.spec.leaseDurationSeconds, 1);
  assert.equal(released.metadata.resourceVersion, "8");
  assert.ok(!election.isLeader(10));
  const other = new Election(config);
  other.see({ saw: "lease", lease: leaseOf("other", "1") }, 0);
  assert.equal(other.release(time(1)), undefined);
});

test("Election knows of a write whose answer has not come", () => {
  const election = new Election(config);
  election.next(time(0));
  election.see({ saw: "lease", lease: undefined }, 0);
  assert.ok(!election.awaitsAnswer);
  election.next(time(0));
  assert.ok(election.awaitsAnswer);
  assert.equal(election.release(time(1)), undefined);
  election.see({ saw: "written", lease: leaseOf("me", "1") }, 2);
  assert.ok(!election.awaitsAnswer);
});

test("Election tells whom it follows and why: lost, released, itself or nobody", () => {
  const followed = (...seen: readonly (Lease | undefined)[]): unknown => {
    const election = new Election(config);
    let nowMs = 0;
    for (const lease of seen) election.see({ saw: "lease", lease }, (nowMs += 20_000));
    election.next(time((nowMs += 20_000)));
    election.see({ saw: "written", lease: leaseOf("me", "9") }, nowMs);
    const told = election.followed;
    // A renewal is no new leadership.
    election.next(time((nowMs += 3000)));
    election.see({ saw: "written", lease: leaseOf("me", "10") }, nowMs);
    assert.equal(election.followed, told);
    return [told?.because, told?.identity];
  };
  assert.deepEqual(followed(undefined), ["there was none", undefined]);
  assert.deepEqual(followed(leaseOf("you", "7")), ["ran out", "you"]);
  assert.deepEqual(followed(leaseOf("you", "7"), leaseOf("", "8", 1)), ["released", "you"]);
  assert.deepEqual(followed(leaseOf("", "8", 1)), ["released", undefined]);
  assert.deepEqual(followed(leaseOf("me", "7")), ["own", "me"]);
});

test("parseElection reads the documented variables and their defaults", () => {
  const named = { namespace: "kube-system", name: "lock", identity: "me" };
  assert.deepEqual(parseElection({}, named), { ok: true, value: config, issues: [] });
  const own = parseElection(
    {
      LEADER_ELECTION_ENABLED: "false",
      LEADER_ELECTION_LEASE_DURATION: "6s",
      LEADER_ELECTION_RENEW_DEADLINE: "4s",
      LEADER_ELECTION_RETRY_PERIOD: "500ms",
      LEADER_ELECTION_LOCK_NAME: "podconfigmap-controller-lock",
      LEADER_ELECTION_LOCK_NAMESPACE: "default",
    },
    named,
  );
  assert.ok(own.ok);
  assert.deepEqual(own.value, {
    isEnabled: false,
    namespace: "default",
    name: "podconfigmap-controller-lock",
    identity: "me",
    leaseDurationMs: 6000,
    renewDeadlineMs: 4000,
    retryPeriodMs: 500,
  });
});

test("parseElection names every variable that is wrong, and times with which two could lead", () => {
  const named = { namespace: "kube-system", name: "lock", identity: "me" };
  const paths = (env: Record<string, string>): string[] => parseElection(env, named).issues.map(({ path }) => path);
  assert.deepEqual(paths({ LEADER_ELECTION_ENABLED: "yes", LEADER_ELECTION_RETRY_PERIOD: "2" }), [
    "LEADER_ELECTION_ENABLED",
    "LEADER_ELECTION_RETRY_PERIOD",
  ]);
  assert.deepEqual(paths({ LEADER_ELECTION_LEASE_DURATION: "10s" }), ["LEADER_ELECTION_LEASE_DURATION"]);
  assert.deepEqual(paths({ LEADER_ELECTION_RENEW_DEADLINE: "2s" }), ["LEADER_ELECTION_RENEW_DEADLINE"]);
  for (const name of ["A_B", "a..b", "-a", "a".repeat(254)])
    assert.deepEqual(paths({ LEADER_ELECTION_LOCK_NAME: name }), ["LEADER_ELECTION_LOCK_NAME"]);
  for (const name of ["A_B", "a.b", "a-", "a".repeat(64)])
    assert.deepEqual(paths({ LEADER_ELECTION_LOCK_NAMESPACE: name }), ["LEADER_ELECTION_LOCK_NAMESPACE"]);
  assert.deepEqual(paths({ LEADER_ELECTION_LOCK_NAME: "a.b-1", LEADER_ELECTION_LOCK_NAMESPACE: "1-a" }), []);
  const { issues } = parseElection({ LEADER_ELECTION_LOCK_NAME: "A_B" }, named);
  assert.match(issues[0]?.message ?? "", /^read LEADER_ELECTION_LOCK_NAME: A_B is no name of a Lease; write /);
});
