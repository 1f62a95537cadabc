import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyPlan, type EndpointFacts, type NodeFacts, type NodePlan } from "@bpfleet/kernel";
import type { DaemonResults } from "../daemon.ts";
import { AnnouncedPods } from "./announced-pods.ts";
import { parseQuestion, type Announcement } from "./announcement.ts";
import { recordedResults } from "../testing/recorded-results.ts";
import { renderKnown } from "./known-pods.ts";
import { PodGate } from "./pod-gate.ts";

const web: Announcement = {
  container: "c1",
  ifname: "eth0",
  pod: { namespace: "shop", name: "web", uid: "u1" },
  namespaceId: 3,
  addresses: ["10.0.0.5/24"],
};
const wish = { key: "k1", pod: { namespace: "shop", name: "web", uids: ["u1"] }, isSelected: true };
const found: EndpointFacts = {
  found: true,
  interface: "h0",
  ifindex: 7,
  addresses: [],
  mac: "02:00:00:00:00:01",
  namespaceId: 3,
};

function resultsOf(change: Partial<DaemonResults> = {}): DaemonResults {
  const none = { isComplete: true, isSettled: true, isPaused: false, items: [], healed: [] };
  return { revision: 1, ...none, applyMs: undefined, trouble: undefined, ...change };
}

/** What the node is, changed by tests. */
class Node {
  facts: Pick<NodeFacts, "endpoints"> = { endpoints: {} };
  results = resultsOf();
  /** Interfaces; an error is what becomes of the next one. */
  graceless: (number | Error)[] = [];
  readonly gate = new PodGate({
    facts: () => this.facts as NodeFacts,
    results: () => this.results,
    endGrace: async (ifindex) => {
      const last = this.graceless.at(-1);
      if (last instanceof Error) throw last;
      this.graceless.push(ifindex);
    },
  });

  get said(): string {
    return this.gate.judge(web).is;
  }
}

/** A plan that judges at one interface. */
function planAt(ifindex: number, isRestricted?: true): NodePlan {
  const owner = { group: "", kind: "Node", namespace: "", name: "n1" };
  const endpoint = { namespace: "shop", pod: "web", interface: "h0", ifindex, isRestricted };
  const data = { about: "node", endpoints: [endpoint] };
  const node = { feature: "policy", key: "policy/node", owner, programs: [], maps: {}, rules: [], data };
  return { ...emptyPlan, instances: [node] };
}

const inForce = ["hook tc-ingress/h0", "hook tc-egress/h0", "map policy/table"].map((text) => {
  const [item = "", key = ""] = text.split(" ");
  return { item: item as "hook" | "map", key, state: "in-force" as const };
});

test("PodGate lets a pod start when the plan that was made with it is in force at both hooks and in the table", () => {
  const node = new Node();
  assert.equal(node.said, "unknown");
  node.gate.wishesAre({ wishes: [wish], reach: ["shop"] });
  assert.equal(node.said, "late");
  node.facts = { endpoints: { k1: found } };
  node.results = resultsOf({ items: inForce });
  assert.equal(node.said, "late", "in force is a plan without it");
  node.gate.planned(2, planAt(7));
  assert.equal(node.said, "late", "the results are of the plan before");
  node.results = resultsOf({ revision: 2, items: inForce.slice(1) });
  assert.equal(node.said, "late", "one hook is missing");
  node.results = resultsOf({ revision: 2, items: inForce });
  assert.equal(node.said, "in-force");
  node.gate.planned(3, planAt(7));
  node.results = resultsOf({ revision: 2, isSettled: false, items: inForce });
  assert.equal(node.said, "in-force", "a further plan is on its way");
  node.facts = { endpoints: { k1: { ...found, namespaceId: 2 } } };
  assert.equal(node.said, "late", "that is the sandbox before");
});

test("PodGate lets pods start at once that no policy selects, and all while everything is paused", () => {
  const node = new Node();
  node.gate.wishesAre({ wishes: [{ ...wish, isSelected: false }], reach: ["shop"] });
  assert.equal(node.said, "free");
  node.gate.wishesAre({ wishes: [], reach: ["office"] });
  assert.equal(node.said, "free");
  node.gate.wishesAre({ wishes: [], reach: ["office", "shop"] });
  assert.equal(node.said, "unknown");
  node.gate.wishesAre({ wishes: [], reach: "everywhere" });
  assert.equal(node.said, "unknown");
  node.results = resultsOf({ isPaused: true });
  assert.equal(node.said, "free");
});

test("PodGate says so where no policy can be judged", () => {
  const node = new Node();
  node.gate.wishesAre({ wishes: [wish], reach: [] });
  node.facts = { endpoints: { k1: { found: false, isFinal: true, why: "it is an ipvlan" } } };
  assert.deepEqual(node.gate.judge(web), { is: "unjudged", why: "it is an ipvlan" });
});

test("PodGate wait ends with what is asked for, with the time, or with the one who asks", async () => {
  const node = new Node();
  node.gate.wishesAre({ wishes: [wish], reach: [] });
  const { signal } = new AbortController();
  assert.equal((await node.gate.wait(web, 5, signal)).is, "late");
  const waiting = node.gate.wait(web, 60_000, signal);
  node.gate.wishesAre({ wishes: [{ ...wish, isSelected: false }], reach: [] });
  assert.equal((await waiting).is, "free");
  node.gate.wishesAre({ wishes: [wish], reach: [] });
  const gone = new AbortController();
  const left = node.gate.wait(web, 60_000, gone.signal);
  gone.abort();
  assert.equal((await left).is, "late");
});

test("PodGate admit ends the grace of a pod that is restricted from its start, and of no other", async () => {
  const node = new Node();
  const { signal } = new AbortController();
  node.gate.wishesAre({ wishes: [wish], reach: [] });
  node.facts = { endpoints: { k1: found } };
  assert.equal((await node.gate.admit(web, 5, signal)).is, "late");
  node.results = resultsOf({ items: inForce });
  node.gate.planned(1, planAt(7));
  assert.equal((await node.gate.admit(web, 5, signal)).is, "in-force");
  assert.deepEqual(node.graceless, [], "nothing is on record of what begins there");
  node.gate.planned(2, planAt(7, true));
  node.results = resultsOf({ revision: 2, items: inForce });
  assert.equal((await node.gate.wait(web, 5, signal)).is, "in-force");
  assert.deepEqual(node.graceless, [], "it may have been there for long");
  assert.equal((await node.gate.admit(web, 5, signal)).is, "in-force");
  assert.deepEqual(node.graceless, [7]);
  node.graceless = [new Error("no room")];
  assert.deepEqual(await node.gate.admit(web, 5, signal), { is: "late", why: "no room" });
  node.gate.wishesAre({ wishes: [{ ...wish, isSelected: false }], reach: [] });
  assert.equal((await node.gate.admit(web, 5, signal)).is, "free");
});

test("AnnouncedPods finds the newest interface of a pod, by its uid where both know one", () => {
  const pods = new AnnouncedPods();
  pods.add(web);
  const again = { ...web, container: "c2", namespaceId: 4 };
  pods.add(again);
  assert.equal(pods.find(wish), again);
  assert.equal(pods.find({ ...wish, pod: { ...wish.pod, uids: ["other"] } }), undefined);
  assert.equal(pods.find({ ...wish, pod: { ...wish.pod, uids: [] } }), again);
  assert.equal(pods.remove(again), again);
  assert.equal(pods.find(wish), web);
  pods.keepOnly([]);
  assert.equal(pods.find(wish), undefined);
});

test("AnnouncedPods forgets the oldest of more pods than a node has, whose end nobody told", () => {
  const pods = new AnnouncedPods();
  pods.add(web);
  for (let number = 0; number < 4096; number++)
    pods.add({ ...web, container: `x${number}`, pod: { ...web.pod, uid: `${number}` } });
  assert.equal(pods.find(wish), undefined);
  pods.add(web);
  assert.equal(pods.find(wish), web);
});

test("parseQuestion takes what the plug-in asks, and nothing that is not as it should be", () => {
  const question = {
    version: 1,
    command: "ADD",
    container: "c1",
    ifname: "eth0",
    netnsId: 3,
    timeoutMs: 1950,
    pod: web.pod,
    prevResult: { ips: [{ address: "10.0.0.5/24", interface: 2 }, { address: "fd00::5/64" }, { address: "x" }, 7] },
  };
  const parsed = parseQuestion(JSON.stringify(question));
  const announced = { ...web, addresses: ["10.0.0.5/24", "fd00::5/64"] };
  assert.deepEqual(parsed, { command: "ADD", timeoutMs: 1950, announced });
  for (const wrong of ["", "{", "[]", "null", '{"version":2,"command":"ADD"}', '{"version":1,"command":"MOVE"}'])
    assert.equal(parseQuestion(wrong), undefined, wrong);
  assert.equal(parseQuestion(JSON.stringify({ ...question, pod: { name: "" } })), undefined);
  const odd = parseQuestion(JSON.stringify({ ...question, netnsId: -1, timeoutMs: 1e9, prevResult: [] }));
  assert.ok(odd?.command === "ADD");
  assert.deepEqual([odd.announced.namespaceId, odd.announced.addresses, odd.timeoutMs], [undefined, [], 60_000]);
  const valid = [{ containerID: "c1", ifname: "eth0" }];
  assert.deepEqual(parseQuestion(JSON.stringify({ version: 1, command: "GC", valid })), {
    command: "GC",
    valid: [{ container: "c1", ifname: "eth0" }],
  });
});

test("parseQuestion finds the addresses in what plug-ins answer, whatever they leave out", () => {
  for (const { by, result, addresses } of recordedResults) {
    const asked = { version: 1, command: "ADD", container: "c1", ifname: "eth0", pod: web.pod, prevResult: result };
    const parsed = parseQuestion(JSON.stringify(asked));
    assert.ok(parsed?.command === "ADD", by);
    assert.deepEqual(parsed.announced.addresses, addresses, by);
  }
});

test("renderKnown writes what the plug-in reads", () => {
  const free = { key: "k2", pod: { namespace: "shop", name: "db", uids: [] }, isSelected: false };
  assert.equal(
    renderKnown({ wishes: [wish, free, { key: "k3" }], reach: ["office", "shop"] }),
    "bpfleet-cni 1\npod shop web u1 selected\npod shop db - free\nreach office\nreach shop\n",
  );
  assert.equal(renderKnown({ wishes: [], reach: "everywhere" }), "bpfleet-cni 1\nreach *\n");
});
