import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalJson } from "@bpfleet/base";
import { emptyPlan, fakeError, identityKey, noEntries, slotsOf, type NodeFacts, type NodePlan } from "@bpfleet/kernel";
import type { AgentDaemon, DaemonResults } from "./daemon.ts";
import type { FakeNode } from "./testing/fake-node.ts";
import { until } from "./testing/until.ts";
import { instance, planOn, program, referringMap, sealedMap, xdpHook } from "./testing/test-plans.ts";

export interface AgentDaemonBench extends AsyncDisposable {
  readonly node: FakeNode;
  /** What the agent holds. */
  readonly daemon: AgentDaemon;
}

/** Registers the tests that every way to a daemon passes; `make` sets up a node of its own for each. */
export function agentDaemonContract(name: string, make: () => Promise<AgentDaemonBench>): void {
  const contract = (sentence: string, run: (bench: AgentDaemonBench) => Promise<void>): void => {
    test(`${name}: ${sentence}`, async () => {
      await using bench = await make();
      await run(bench);
    });
  };
  planContract(contract);
  factsContract(contract);
}

type Contract = (sentence: string, run: (bench: AgentDaemonBench) => Promise<void>) => void;

const complete = { complete: true } as const;
const statesOf = ({ items }: DaemonResults): readonly string[] =>
  items.map(({ item, key, state }) => `${item} ${key}: ${state}`);

function planContract(contract: Contract): void {
  contract("setPlan puts a plan in force, and the results tell of each of its items", async ({ node, daemon }) => {
    node.world.addInterface("eth0");
    daemon.setPlan(planOn(["eth0"], { instances: [instance("i", 3)] }), complete);
    assert.equal(daemon.results().isSettled, false, "nothing is known of it yet");
    const results = await daemon.settled();
    assert.deepEqual(statesOf(results), ["map m: in-force", "program p: in-force", "hook xdp/eth0: in-force"]);
    assert.equal(results.isComplete, true);
    assert.equal(results.trouble, undefined);
    assert.ok(results.applyMs !== undefined && results.applyMs >= 0);
    assert.deepEqual(daemon.results(), results);
    assert.deepEqual([...node.world.hooks.keys()], [identityKey("xdp/eth0")]);
    assert.equal(canonicalJson(node.daemon.results()), canonicalJson(results));
  });

  contract("setPlan takes out what a complete plan does not name, and nothing for one that is not", async (bench) => {
    const { node, daemon } = bench;
    for (const each of ["a", "b"]) node.world.addInterface(each);
    daemon.setPlan(planOn(["a", "b"]), complete);
    await daemon.settled();
    daemon.setPlan(planOn(["a"]), { complete: false });
    await daemon.settled();
    assert.equal(node.world.hooks.size, 2);
    daemon.setPlan(planOn(["a"]), complete);
    await daemon.settled();
    assert.deepEqual([...node.world.hooks.keys()], [identityKey("xdp/a")]);
    daemon.setPlan(emptyPlan, complete);
    assert.deepEqual((await daemon.settled()).items, []);
    assert.deepEqual([node.world.hooks.size, node.world.programs.size, node.world.maps.size], [0, 0, 0]);
  });

  contract(
    "setPlan keeps every byte of a list of 100,000 entries, through changes beside it and of it",
    async (bench) => {
      const { node, daemon } = bench;
      node.world.addInterface("eth0");
      const large = sealedMap("list", 100_000);
      for (const maps of [[large], [large, sealedMap("other", 1)], [sealedMap("list", 100_000, 5)]]) {
        const plan = planOn(["eth0"], { maps, programs: [program("p", ["list"])] });
        daemon.setPlan(plan, complete);
        await daemon.settled();
        const [wanted] = maps;
        assert.ok(wanted?.contents.kind === "sealed");
        const held = [...node.world.maps.values()].find(({ identity }) => identity.key === "list");
        const at = new DataView(wanted.contents.entries.keys.buffer).getUint32(399_996, true);
        assert.equal(held?.entries.size, 100_000);
        assert.equal(at, (wanted.contents.digest.startsWith("5") ? 5 : 0) + 99_999);
        const observed = await node.daemon.observe(["list"]);
        const entries = observed.maps.find(({ key }) => key === "list")?.entries;
        assert.deepEqual(sortedEntries(entries), sortedEntries(wanted.contents.entries));
      }
    },
  );

  contract(
    "setPlan points maps that refer to others at these, and keeps the earlier one where it cannot",
    async (bench) => {
      const { node, daemon } = bench;
      node.world.addInterface("eth0");
      const tables = [sealedMap("one", 3), sealedMap("two", 3, 5)] as const;
      const planFor = (slots: Readonly<Record<number, string>>): NodePlan =>
        planOn(["eth0"], {
          maps: [...tables, referringMap("outer", tables[0], slots)],
          programs: [program("p", ["outer"])],
        });
      const pointed = async (): Promise<readonly string[]> => {
        const { maps } = await node.daemon.observe(["outer"]);
        const entries = maps.find(({ key }) => key === "outer")?.entries;
        const names = new Map(maps.map(({ key, mapId }) => [mapId, key]));
        return [...slotsOf(entries ?? noEntries)].map(([slot, id]) => `${slot} ${names.get(id)}`).toSorted();
      };
      daemon.setPlan(planFor({ 0: "one", 3: "two" }), complete);
      assert.ok((await daemon.settled()).items.every(({ state }) => state === "in-force"));
      assert.deepEqual(await pointed(), ["0 one", "3 two"]);
      const { programs } = await node.daemon.observe([]);
      daemon.setPlan(planFor({ 0: "two" }), complete);
      await daemon.settled();
      assert.deepEqual(await pointed(), ["0 two"]);
      assert.deepEqual((await node.daemon.observe([])).programs, programs, "no program is loaded anew");
      let isRefused = true;
      node.world.intercept = ({ method }) =>
        method === "putReference" && isRefused ? fakeError("busy", "put: no memory (ENOMEM)", "x") : undefined;
      daemon.setPlan(planFor({ 0: "one" }), complete);
      const outer = (await daemon.settled()).items.find(({ key }) => key === "outer");
      assert.deepEqual([outer?.state, outer?.error?.code, outer?.earlier], ["failed", "busy", ["one"]]);
      assert.deepEqual(await pointed(), ["0 two"]);
      isRefused = false;
      await until("it is tried again", () => daemon.results().items.every(({ state }) => state === "in-force"));
      assert.deepEqual(await pointed(), ["0 one"]);
    },
  );

  contract("lastPlan gives back what was set, with rules and bytes, and nothing before that", async (bench) => {
    const { node, daemon } = bench;
    node.world.addInterface("eth0");
    assert.deepEqual(await daemon.lastPlan(), emptyPlan);
    const plan = planOn(["eth0"], { maps: [sealedMap("list", 3)], instances: [instance("i", 3)] });
    daemon.setPlan(plan, complete);
    await daemon.settled();
    const held = await daemon.lastPlan();
    assert.equal(canonicalJson(held), canonicalJson(plan));
    const [map] = held.maps;
    assert.ok(map?.contents.kind === "sealed" && map.contents.entries.keys instanceof Uint8Array);
  });

  contract("results name what failed and why, and hear of its end", async ({ node, daemon }) => {
    node.world.addInterface("eth0");
    let isRefused = true;
    node.world.intercept = ({ method }) =>
      method === "setHook" && isRefused
        ? fakeError("busy", "attach xdp/eth0: occupied (EBUSY)", "x", "EBUSY")
        : undefined;
    daemon.setPlan(planOn(["eth0"]), complete);
    const results = await daemon.settled();
    const { error } = results.items.find(({ item }) => item === "hook") ?? {};
    assert.deepEqual(
      [error?.code, error?.message, error?.retry],
      ["busy", "attach xdp/eth0: occupied (EBUSY)", "backoff"],
    );
    isRefused = false;
    await until("the hook is in force", () => daemon.results().items.every(({ state }) => state === "in-force"));
  });

  contract("onChange tells until it is ended, pauses and what was put right too", async ({ node, daemon }) => {
    node.world.addInterface("eth0");
    daemon.setPlan(planOn(["eth0"]), complete);
    await daemon.settled();
    const told: DaemonResults[] = [];
    const end = daemon.onChange((results) => told.push(results));
    node.world.hooks.delete(identityKey("xdp/eth0"));
    await until("it is put right", () => told.some(({ healed }) => healed.length === 1));
    await node.daemon.pause();
    await until("the pause is told", () => told.at(-1)?.isPaused === true);
    assert.deepEqual(told.at(-1), daemon.results());
    end();
    const count = told.length;
    await node.daemon.resume();
    await until("the end of the pause is known", () => !daemon.results().isPaused);
    assert.equal(told.length, count);
  });

  contract("setPlan many times in a row ends with the last", async ({ node, daemon }) => {
    const names = Array.from({ length: 20 }, (_, at) => `i${at}`);
    for (const each of names) node.world.addInterface(each);
    for (const each of names) daemon.setPlan(planOn([each]), complete);
    const results = await daemon.settled();
    assert.deepEqual(statesOf(results).at(-1), "hook xdp/i19: in-force");
    assert.deepEqual([...node.world.hooks.keys()], [identityKey("xdp/i19")]);
  });

  contract("setPlan keeps the order of what it is given, whatever came before", async ({ node, daemon }) => {
    const names = ["c", "a", "b"];
    for (const each of names) node.world.addInterface(each);
    for (const order of [["c"], ["a", "c"], ["a", "b", "c"], ["c", "b", "a"], ["b"]]) {
      daemon.setPlan(planOn([], { hooks: order.map((each) => xdpHook(each, "p")) }), complete);
      await daemon.settled();
      const hooks = daemon.results().items.filter(({ item }) => item === "hook");
      assert.deepEqual(
        hooks.map(({ key }) => key),
        order.map((each) => `xdp/${each}`),
      );
    }
  });

  contract("counters tells the counts of every rule with its origin", async ({ node, daemon }) => {
    node.world.addInterface("eth0");
    const plan = planOn(["eth0"], { instances: [instance("i", 3), instance("j", 2000), instance("k", 0)] });
    daemon.setPlan(plan, complete);
    await daemon.settled();
    const counters = await daemon.counters();
    assert.deepEqual(counters, await node.daemon.counters());
    assert.deepEqual(
      counters.map(({ rules }) => rules.length),
      [3, 2000, 0],
    );
    assert.deepEqual(counters[1]?.rules[1999], {
      rule: plan.instances[1]?.rules[1999],
      counter: { packets: 2000n, bytes: 120_000n },
    });
    assert.equal(counters[0]?.gauges["large"], 2n ** 63n);
  });
}

function factsContract(contract: Contract): void {
  contract("facts tell what the node is, and onFacts of every change", async ({ node, daemon }) => {
    assert.deepEqual(daemon.facts(), node.daemon.facts());
    const told: NodeFacts[] = [];
    const end = daemon.onFacts((facts) => told.push(facts));
    for (const change of [
      () => node.world.addInterface("eth0"),
      () => node.world.addInterface("eth1"),
      () => node.world.removeInterface("eth0"),
      () => node.world.addInterface("eth0"),
    ]) {
      change();
      node.look();
      const names = node.daemon.facts().interfaces.map(({ ifindex }) => ifindex);
      const known = (): string => JSON.stringify(daemon.facts().interfaces.map(({ ifindex }) => ifindex));
      await until("the change is known", () => known() === JSON.stringify(names));
      assert.deepEqual(told.at(-1), node.daemon.facts());
    }
    end();
    const count = told.length;
    node.world.addInterface("eth2");
    node.look();
    await until("the last is known", () => daemon.facts().interfaces.length === 3);
    assert.equal(told.length, count);
  });

  contract("watchCgroups replaces the list, and facts know of it when it is done", async ({ node, daemon }) => {
    for (const path of ["/a", "/b"]) node.world.addCgroup(path);
    await daemon.watchCgroups(["/a", "/b", "/none"]);
    assert.deepEqual(Object.keys(daemon.facts().cgroups), ["/a", "/b"]);
    await daemon.watchCgroups(["/b"]);
    assert.deepEqual(Object.keys(daemon.facts().cgroups), ["/b"]);
  });

  contract(
    "watchEndpoints replaces the list, and facts know of it when it is done, and of what changes",
    async (bench) => {
      const { node, daemon } = bench;
      node.world.addInterface("web");
      await daemon.watchEndpoints([
        { key: "default/web", netns: "web" },
        { key: "default/db", netns: "db", cgroups: ["/db"] },
      ]);
      assert.deepEqual(
        Object.entries(daemon.facts().endpoints ?? {}).map(([key, { found }]) => [key, found]),
        [
          ["default/web", true],
          ["default/db", false],
        ],
      );
      node.world.addInterface("db");
      node.look();
      await until("it is found", () => daemon.facts().endpoints?.["default/db"]?.found === true);
      await daemon.watchEndpoints([{ key: "default/db", netns: "db" }]);
      assert.deepEqual(node.wishes, [{ key: "default/db", netns: "db" }]);
      assert.deepEqual(daemon.facts().endpoints, node.daemon.facts().endpoints);
    },
  );

  contract("watchBytecode gives sources and secrets on, and facts know of it when it is done", async (bench) => {
    const { node, daemon } = bench;
    const source = { from: "image", image: "registry.test/a:1", pullSecret: "bpfd/s" } as never;
    const secrets = { "bpfd/s": { ".dockerconfigjson": "e30=" } };
    await daemon.watchBytecode([source], secrets);
    assert.deepEqual(node.watched, { sources: [source], secrets });
    assert.deepEqual(Object.values(daemon.facts().bytecode ?? {}), [{ state: "fetching" }]);
    await daemon.watchBytecode([], {});
    assert.deepEqual(node.watched, { sources: [], secrets: {} });
    assert.deepEqual(daemon.facts().bytecode, {});
  });
}

function sortedEntries(
  entries: { readonly keys: Uint8Array; readonly values: Uint8Array } | undefined,
): readonly bigint[] {
  if (entries === undefined) return [];
  const { keys, values } = entries;
  const view = (bytes: Uint8Array) => new Uint32Array(bytes.slice().buffer);
  const [ours, theirs] = [view(keys), view(values)];
  return [...ours].map((key, at) => (BigInt(key) << 32n) | BigInt(theirs[at] ?? 0)).toSorted((a, b) => Number(a - b));
}
