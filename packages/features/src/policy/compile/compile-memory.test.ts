import assert from "node:assert/strict";
import { test } from "node:test";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import type { BackendsIntent, PolicyFeatureIntent, ServiceIntent } from "../intent.ts";
import { policy } from "../policy-feature.ts";
import { factsOf, inputOf } from "../testing/compiled-world.ts";
import { Chance } from "../testing/random.ts";
import { randomOthers, randomPolicies } from "../testing/random-policy.ts";
import { randomWorld } from "../testing/random-world.ts";
import { LastAnswer } from "./compile-memory.ts";

const names = ["web", "db", "odd"];
const fact = { feature: "policy", isFact: true } as const;
const origin = { object: { group: "", kind: "Service", namespace: "x", name: "web" }, path: "" };

function randomService(chance: Chance, at: number): ServiceIntent {
  return {
    ...fact,
    about: "service",
    origin,
    namespace: chance.of(["x", "y"]),
    name: chance.of(names),
    labels: { app: chance.of(["a", "b", "c"]) },
    clusterAddresses: [`10.96.0.${at + 1}`],
    externalAddresses: chance.some(["203.0.113.9"]),
    closedAddresses: [],
    ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: chance.is(50) ? 30_080 : undefined }],
    affinitySeconds: undefined,
    isLocalOnly: chance.is(20),
  };
}

function randomBackends(chance: Chance): BackendsIntent {
  const ports = [{ name: "http", protocol: "TCP", port: chance.of([80, 8080]) }] as const;
  const backends = chance.list(0, 3, () => ({
    addresses: [`10.0.0.${10 + chance.below(9)}`],
    isReady: chance.is(80),
    isServing: true,
    node: "node",
    forZones: [],
    forNodes: [],
  }));
  return {
    ...fact,
    about: "backends",
    origin,
    namespace: chance.of(["x", "y"]),
    service: chance.of(names),
    ports,
    backends,
  };
}

/** A node whose parts change one at a time; what does not change stays the same value. */
class ChangingNode {
  readonly #chance: Chance;
  #input: ReturnType<typeof inputOf>;
  #facts: ReturnType<typeof factsOf>;
  #services: readonly ServiceIntent[] = [];
  #backends: readonly BackendsIntent[] = [];

  constructor(chance: Chance) {
    this.#chance = chance;
    const world = randomWorld(chance);
    this.#input = inputOf(randomPolicies(chance, world), world, randomOthers(chance, world));
    this.#facts = factsOf(world);
    this.#services = chance.list(0, 4, () => undefined).map((_, at) => randomService(chance, at));
    this.#backends = chance.list(0, 4, () => randomBackends(chance));
  }

  change(): void {
    const chance = this.#chance;
    const world = randomWorld(chance);
    const other = inputOf(randomPolicies(chance, world), world, randomOthers(chance, world));
    const oneOf = <T>(list: readonly T[], from: readonly T[]): readonly T[] =>
      from.length === 0
        ? list
        : list.length === 0
          ? [chance.of(from)]
          : list.with(chance.below(list.length), chance.of(from));
    switch (chance.below(8)) {
      case 0:
        this.#input = { ...this.#input, policies: other.policies };
        break;
      case 1:
        this.#input = { ...this.#input, policies: this.#input.policies.toSpliced(0, 1) };
        break;
      case 2:
        this.#input = { ...this.#input, addresses: oneOf(this.#input.addresses, other.addresses) };
        break;
      case 3:
        this.#input = { ...this.#input, hosts: oneOf(this.#input.hosts, other.hosts) };
        break;
      case 4:
        this.#input = { ...this.#input, workloads: oneOf(this.#input.workloads, other.workloads) };
        break;
      case 5:
        this.#services = oneOf(this.#services, [randomService(chance, 9)]);
        break;
      case 6:
        this.#backends = oneOf(this.#backends, [randomBackends(chance)]);
        break;
      case 7: {
        const [name] = chance.some(Object.keys(this.#facts.endpoints ?? {}));
        const addresses = [`10.0.0.${10 + chance.below(9)}/24`];
        const eth0 = interfaceFacts("eth0", { addresses });
        const known = name === undefined ? undefined : this.#facts.endpoints?.[name];
        this.#facts =
          name === undefined || known?.found !== true
            ? { ...this.#facts, interfaces: [eth0] }
            : { ...this.#facts, endpoints: { ...this.#facts.endpoints, [name]: { ...known, addresses } } };
      }
    }
  }

  intents(): readonly PolicyFeatureIntent[] {
    const { policies, workloads, addresses, hosts } = this.#input;
    return [...policies, ...workloads, ...addresses, ...hosts, ...this.#services, ...this.#backends];
  }

  facts() {
    return nodeFacts({ ...this.#facts, objects: { policy: { digest: "d" } } });
  }
}

test("policy plans the same with what it remembers as from nothing, whatever was changed before", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const node = new ChangingNode(new Chance(seed));
    const memory = new Map();
    for (let step = 0; step < 10; step++) {
      const intents = node.intents();
      assert.deepEqual(
        policy.plan(intents, node.facts(), memory),
        policy.plan(intents, node.facts()),
        `seed ${seed}, step ${step}`,
      );
      node.change();
    }
  }
});

test("LastAnswer asks again when something in the question is another value, and after a failure", () => {
  const last = new LastAnswer<object>();
  const one = {};
  const first = last.to([[one], "a"], () => ({}));
  assert.equal(
    last.to([[one], "a"], () => ({})),
    first,
  );
  for (const question of [[[{}], "a"], [[one], "b"], [[one, one], "a"], [[one]]])
    assert.notEqual(
      last.to(question, () => ({})),
      first,
    );
  assert.throws(() =>
    last.to([], () => {
      throw new RangeError("no");
    }),
  );
  assert.ok(last.to([], () => one) === one);
});
