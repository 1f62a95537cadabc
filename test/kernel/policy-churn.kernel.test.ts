import assert from "node:assert/strict";
import { test } from "node:test";
import { cells, ChurnedState, diceOf } from "./policy-rig/churned-state.ts";
import { podKey, type RigPod } from "./policy-rig/pod-network.ts";
import type { Met, Probe } from "./policy-rig/prober.ts";
import { ninePods, PolicyRig, type Cell } from "./policy-rig/policy-rig.ts";

const steps = Number(process.env["CHURN_STEPS"] ?? 40);
const seed = Number(process.env["CHURN_SEED"] ?? 7);
const patientMs = 1000;
const keptFlows = 12;
/** Of a flow that is not allowed any more. */
const [revokedPokes, pokeMs] = [5, 40];

const got = (met: Met | undefined): boolean => met === "answered" || met === "arrived";

test(`policies of both kinds, labels and pods that change, several at once, while probes run let nothing pass that no state allows (seed ${seed})`, async (t) => {
  await using rig = await PolicyRig.make("routed");
  const netnsOf = rig.network.netnsOf.bind(rig.network);
  const dice = diceOf(seed);
  let state = ChurnedState.first();
  await rig.change({ write: state.objects(netnsOf) });
  const flows = new Map<number, Cell>();
  let [rounds, probed, cut, lived] = [0, 0, 0, 0];
  const took: number[] = [];
  /** Of each probe that met nothing: the states that may let it pass. */
  const judged = new Map<
    Probe,
    { readonly key: string; readonly states: readonly ChurnedState[]; readonly told: string }
  >();

  for (let step = 1; step <= steps; step++) {
    while (flows.size < keptFlows) {
      const cell = { ...(cells[dice(cells.length)] ?? assert.fail()) };
      const flow = state.allowed.has(cell.key) ? await rig.prober.open(cell) : undefined;
      assert.ok(!state.allowed.has(cell.key) || flow !== undefined, `step ${step}: ${cell.key} cannot be opened`);
      if (flow !== undefined) flows.set(flow, cell);
      if (flow === undefined && state.allowed.size < cells.length / 20) break;
    }
    const before = state;
    const { state: after, between, change, what } = state.next(dice, netnsOf);
    const states = [before, ...between, after];
    const told = `step ${step}, ${what}`;
    const ask = async (
      asked: readonly Cell[],
      states: readonly ChurnedState[],
      quietMs?: number,
    ): Promise<readonly Met[]> => {
      const probes = asked.map((cell) => ({ ...cell }));
      const met = await rig.prober.probe(probes, quietMs);
      for (const [at, probe] of probes.entries())
        if (met[at] === "nothing") judged.set(probe, { key: probe.key, states, told });
      return met;
    };
    const changed = new AbortController();
    const watching = (async () => {
      const wrong: string[] = [];
      do {
        const asked = Array.from({ length: 60 }, () => cells[dice(cells.length)] ?? assert.fail());
        const met = await ask(asked, states, 5);
        for (const [at, { key }] of asked.entries())
          if (got(met[at]) && !states.some(({ allowed }) => allowed.has(key))) wrong.push(key);
        rounds++;
        probed += asked.length;
      } while (!changed.signal.aborted);
      return wrong;
    })();
    const { trouble, ms } = await rig.change(change);
    changed.abort();
    took.push(ms);
    assert.equal(trouble, undefined, told);
    assert.deepEqual(await watching, [], `${told}: allowed by no state`);
    state = after;

    // From here on its status says that it is in force.
    const met = await ask(cells, [state]);
    assert.deepEqual(
      cells.filter(({ key }, at) => got(met[at]) && !state.allowed.has(key)).map(({ key }) => key),
      [],
      `${told}: not allowed any more`,
    );
    const silent = cells.filter(({ key }, at) => met[at] !== "answered" && state.allowed.has(key));
    const again = await rig.prober.probe(silent, patientMs);
    assert.deepEqual(
      silent.filter((_, at) => again[at] !== "answered").map(({ key }) => key),
      [],
      `${told}: allowed, and not answered`,
    );
    for (const [flow, probe] of flows) {
      const { key } = probe;
      const isAllowed = state.allowed.has(key);
      if (isAllowed) {
        const met = await rig.prober.poke(flow, patientMs);
        assert.equal(met, "answered", `${told}: flow ${key} was cut`);
        lived++;
        continue;
      }
      judged.set(probe, { key, states: [state], told });
      // A second chance for what TCP sends again.
      for (let pokes = 0; pokes < revokedPokes; pokes++)
        assert.ok(!got(await rig.prober.poke(flow, pokeMs)), `${told}: flow ${key} lives on`);
      cut++;
      await rig.prober.close(flow);
      flows.delete(flow);
    }
  }
  const late = (await rig.prober.late()).flatMap((probe) => judged.get(probe) ?? assert.fail(JSON.stringify(probe)));
  assert.deepEqual(
    late.flatMap(({ key, states, told }) =>
      states.some(({ allowed }) => allowed.has(key)) ? [] : [`${told}: ${key}`],
    ),
    [],
    "arrived after it was given up, allowed by no state",
  );
  const sorted = took.toSorted((a, b) => a - b);
  t.diagnostic(
    `${steps} changes, ${rounds} rounds with ${probed} probes meanwhile, ${cut} flows cut, ${lived} lived on; a change took ${Math.round(sorted[sorted.length >> 1] ?? 0)} ms, at most ${Math.round(sorted.at(-1) ?? 0)}; ${late.length} arrived late`,
  );
  assert.ok(cut > 0 && lived > 0 && rounds >= steps);
});

/** Two pods of which nobody reaches the first, and a question that shows it. */
async function closedPod(): Promise<{ rig: PolicyRig; pod: RigPod; probe: Probe }> {
  const [pod, other] = ninePods;
  assert.ok(pod && other);
  const rig = await PolicyRig.make("routed", [pod, other]);
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "closed", namespace: pod.namespace },
    spec: { podSelector: { matchLabels: { pod: pod.name } }, policyTypes: ["Ingress"] },
  };
  const state = ChurnedState.first().objects((each) => rig.network.netns.get(podKey(each)) ?? "none");
  await rig.change({ write: [...state, policy] });
  const probe = { from: podKey(other), to: pod.ipv4, protocol: "TCP", port: 80 } as const;
  assert.deepEqual(await rig.prober.probe([probe]), ["nothing"]);
  return { rig, pod, probe };
}

test("a pod whose interface is made anew is judged again", async () => {
  const { rig: made, pod, probe } = await closedPod();
  await using rig = made;
  rig.network.unwire(pod);
  rig.network.wire(pod);
  const begunMs = performance.now();
  while ((await rig.prober.probe([probe], 10))[0] !== "nothing")
    assert.ok(performance.now() - begunMs < 5000, "it stays open");
  assert.deepEqual(await rig.prober.probe([probe], 200), ["nothing"]);
});

test("a pod whose interface gets another name is judged without a gap, also where it was renamed without a daemon", async () => {
  const { rig: made, probe } = await closedPod();
  await using rig = made;
  // While it is up, so that its routes stay: what comes through is not stopped by anything else.
  const rename = (from: string, to: string): void =>
    void rig.network.sandbox.ip(rig.network.node.name, "link", "set", from, "name", to);
  const followed = async (name: string): Promise<void> => {
    const begunMs = performance.now();
    for (let rounds = 0; ; rounds++) {
      assert.deepEqual(await rig.prober.probe([probe, probe, probe], 10), ["nothing", "nothing", "nothing"]);
      const now = rig.hooks();
      if (rounds > 100 && now.length === 2 && now.every((hook) => hook.endsWith(`/${name}`))) return;
      assert.ok(performance.now() - begunMs < 60_000, `${now.join(", ")} after a minute`);
    }
  };
  rename("h0", "renamed0");
  await followed("renamed0");
  await rig.stop();
  rename("renamed0", "again0");
  await rig.start();
  await followed("again0");
  await rig.change({ remove: [{ group: "networking.k8s.io", kind: "NetworkPolicy", namespace: "x", name: "closed" }] });
  assert.deepEqual(await rig.prober.probe([probe], 5000), ["answered"]);
});
