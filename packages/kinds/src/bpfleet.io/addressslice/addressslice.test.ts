import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findKind } from "../../kinds.ts";
import type { AddressesIntent } from "@bpfleet/features";
import type { Parsed, ResourceView } from "../../kind.ts";
import { issueLines, readAll } from "../../testing/read-all.ts";
import { lowerSlice } from "./lower.ts";
import { packAddresses, readAddresses, sliceTarget } from "./pack.ts";
import type { KnownAddress, SliceChanges } from "./pack.ts";
import type { AddressLabelSet, AddressSlice } from "./schema.ts";

/** A pod of a Deployment as clusters have them. */
function pod(at: number, fields: Partial<KnownAddress> = {}): KnownAddress {
  const app = at % 7;
  return {
    of: "Pod",
    namespace: "shop",
    ip: `10.${(at >> 16) + 1}.${(at >> 8) & 255}.${at & 255}`,
    name: `web-${app}-5d8f7c9b64-${at.toString(36).padStart(5, "x")}`,
    node: `worker-${at % 20}.example.internal`,
    set: deploymentSet(app),
    ...fields,
  };
}

function deploymentSet(app: number): AddressLabelSet {
  const labels = { "app.kubernetes.io/name": `web-${app}`, "app.kubernetes.io/part-of": "shop" };
  return {
    labels: { ...labels, "pod-template-hash": "5d8f7c9b64" },
    serviceAccount: `web-${app}`,
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
  };
}

function pods(count: number, fields: Partial<KnownAddress> = {}): KnownAddress[] {
  return Array.from({ length: count }, (_, at) => pod(at, fields));
}

/** What the API server holds afterwards; each write gets the next version. */
function apply(current: readonly AddressSlice[], { write, remove }: SliceChanges, version = 1): AddressSlice[] {
  const kept = new Map(current.map((slice) => [slice.metadata.name, slice]));
  for (const name of remove) kept.delete(name);
  for (const slice of write)
    kept.set(slice.metadata.name, { ...slice, metadata: { ...slice.metadata, resourceVersion: String(version++) } });
  return [...kept.values()];
}

function sizeOf(slices: readonly AddressSlice[]): number {
  return slices.reduce((sum, { spec }) => sum + JSON.stringify(spec).length, 0);
}

test("packAddresses takes 100,000 pods in slices of the target, some 110 bytes an address", () => {
  const wanted = Array.from({ length: 100_000 }, (_, at) => pod(at, { namespace: `team-${at % 50}` }));
  const { write } = packAddresses([], wanted);
  assert.equal(write.length, 100_000 / sliceTarget);
  const perAddress = sizeOf(write) / wanted.length;
  assert.ok(perAddress > 80 && perAddress < 130, `${perAddress}`);
  assert.equal(readAddresses(write).size, 100_000);
});

test("AddressSlice of 1,000 addresses is accepted and takes some 110 KB", () => {
  const { write } = packAddresses([], pods(1000), 1000);
  const [slice] = write;
  assert.equal(write.length, 1);
  assert.ok(sizeOf(write) < 120_000, `${sizeOf(write)}`);
  const parsed = findKind("bpfleet.io/v1alpha1", "AddressSlice")?.parse(slice);
  assert.deepEqual(parsed?.issues, []);
});

test("packAddresses keeps pods that share no labels below the size of an object", () => {
  const wanted = Array.from({ length: 2000 }, (_, at) =>
    pod(at, { set: { labels: { "statefulset.kubernetes.io/pod-name": `db-${at}`, long: "x".repeat(63) } } }),
  );
  const { write } = packAddresses([], wanted, 1000);
  assert.ok(write.every((slice) => sizeOf([slice]) < 300_000));
  const [hundred] = packAddresses([], wanted.slice(0, 100)).write;
  assert.ok(hundred !== undefined && sizeOf([hundred]) < 24_000);
});

test("packAddresses writes one slice for all that is new in a namespace, and those that lose something", () => {
  const before = apply([], packAddresses([], pods(1000)));
  const gone = new Set([5, 505, 905].map((at) => pod(at).ip));
  const later = [...pods(1000).filter(({ ip }) => !gone.has(ip)), pod(2001), pod(2002), pod(2003)];
  const { write, remove } = packAddresses(before, later);
  assert.deepEqual([write.length, remove], [3, []]);
  const more = packAddresses(before, [...pods(1000), ...Array.from({ length: 5 }, (_, at) => pod(3000 + at))]);
  assert.deepEqual(
    more.write.map(({ metadata }) => metadata.name),
    ["pods-shop-10"],
  );
});

test("packAddresses merges what many deletions leave, and removes what is empty", () => {
  const before = apply([], packAddresses([], pods(1000)));
  const few = pods(1000).filter((_, at) => at % 20 === 0);
  const changes = packAddresses(before, few);
  assert.equal(changes.write.length, 1);
  assert.equal(changes.remove.length, 9);
  const none = packAddresses(before, []);
  assert.deepEqual([none.write, none.remove.length], [[], 10]);
});

test("packAddresses leaves each address in some slice at every step", () => {
  // The later ones have the lower addresses.
  const all = pods(1000).toReversed();
  let before: readonly AddressSlice[] = [];
  for (let count = 100; count <= all.length; count += 100)
    before = apply(before, packAddresses(before, all.slice(0, count)), count);
  for (const every of [5, 9, 20]) {
    const few = pods(1000).filter((_, at) => at % every === 0);
    const { write, remove } = packAddresses(before, few);
    assert.ok(remove.length > 0);
    let slices: readonly AddressSlice[] = before;
    const look = (what: string): void => {
      const known = readAddresses(slices);
      assert.ok(
        few.every(({ ip }) => known.has(ip)),
        `${what}, of each ${every}`,
      );
    };
    for (const [at, slice] of write.entries()) {
      slices = apply(slices, { write: [slice], remove: [] }, 2000 + at);
      look(`${slice.metadata.name} is written`);
    }
    slices = apply(slices, { write: [], remove });
    look("what is empty is removed");
    assert.deepEqual(packAddresses(slices, few), { write: [], remove: [] });
  }
});

test("packAddresses of a change among 100,000 pods of one namespace takes no more than a second or two", () => {
  const sets = Array.from({ length: 7 }, (_, app) => deploymentSet(app));
  const wanted = Array.from({ length: 100_000 }, (_, at) => {
    const set = sets[at % 7];
    return set === undefined ? assert.fail() : pod(at, { set });
  });
  const { write } = packAddresses([], wanted);
  const begin = process.cpuUsage();
  const changes = packAddresses(write, wanted.slice(5));
  const { user } = process.cpuUsage(begin);
  assert.ok(changes.write.length > 0 && changes.write.length <= 5 && changes.remove.length === 0);
  assert.ok(user < 4_000_000, `${user / 1000} ms`);
});

test("packAddresses comes to an end, whatever was there and is wanted", () => {
  const address = fc.record({
    at: fc.integer({ min: 0, max: 40 }),
    namespace: fc.constantFrom("a", "b"),
    app: fc.integer({ min: 0, max: 2 }),
    isNode: fc.boolean(),
  });
  const list = fc.array(address, { maxLength: 40 }).map((items) => [
    ...new Map(
      items.map(({ at, namespace, app, isNode }) => {
        const { name: _, namespace: __, ...rest } = pod(at, { set: deploymentSet(app) });
        const known: KnownAddress = isNode ? { ...rest, of: "Node" } : pod(at, { namespace, set: deploymentSet(app) });
        return [known.ip, known] as const;
      }),
    ).values(),
  ]);
  fc.assert(
    fc.property(fc.array(list, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 6 }), (steps, target) => {
      let slices: readonly AddressSlice[] = [];
      for (const [step, wanted] of steps.entries()) {
        slices = apply(slices, packAddresses(slices, wanted, target), 1 + step * 100);
        assert.deepEqual(packAddresses(slices, wanted, target), { write: [], remove: [] });
        assert.deepEqual(readAddresses(slices), new Map(sorted(wanted)));
        assert.equal(
          slices.reduce((sum, { spec }) => sum + spec.addresses.length, 0),
          wanted.length,
        );
        assert.ok(slices.every(({ spec }) => spec.addresses.length <= target && spec.addresses.length > 0));
      }
    }),
    { numRuns: 300 },
  );
});

function sorted(wanted: readonly KnownAddress[]): readonly (readonly [string, KnownAddress])[] {
  return wanted.map((known) => [known.ip, known] as const);
}

test("readAddresses takes the slice that was written last", () => {
  const [a] = apply([], packAddresses([], [pod(1, { namespace: "a" })]), 9);
  const [b] = apply([], packAddresses([], [pod(1, { namespace: "b" })]), 10);
  assert.ok(a !== undefined && b !== undefined);
  assert.equal(readAddresses([b, a]).get(pod(1).ip)?.namespace, "b");
});

test("AddressSlice refuses what points nowhere, addresses that are none, and the same address twice", () => {
  const slice = (spec: string): string[] =>
    issueLines(`apiVersion: bpfleet.io/v1alpha1\nkind: AddressSlice\nmetadata: {name: s}\nspec: ${spec}\n`);
  const tables = "nodes: [w], labelSets: [{labels: {a: b}}]";
  assert.deepEqual(slice(`{of: Node, ${tables}, addresses: [{ip: 10.0.0.1, set: 0, node: 0}]}`), []);
  assert.deepEqual(slice(`{of: Pod, ${tables}, addresses: [{ip: 10.0.0.1, set: 1, node: 2}]}`), [
    "4: error spec.namespace: is required for addresses of pods",
    "4: error spec.addresses: must have each set be a place in labelSets",
    "4: error spec.addresses: must have each node be a place in nodes",
  ]);
  assert.deepEqual(slice(`{of: Node, namespace: a, ${tables}, addresses: [{ip: 10.0.0.0/8, set: 0, node: 0}]}`), [
    "4: error spec.namespace: must be left out for addresses of nodes",
    '4: error spec.addresses[0].ip: must be an IPv4 or IPv6 address, is "10.0.0.0/8"',
  ]);
  const twice = "[{ip: 10.0.0.1, set: 0, node: 0}, {ip: 10.0.0.1, set: 0, node: 0}]";
  assert.deepEqual(slice(`{of: Node, ${tables}, addresses: ${twice}}`), [
    "4: error spec.addresses[1].ip: is already in spec.addresses[0]; keep one",
  ]);
});

function viewOf(objects: readonly object[]): { parsed: readonly Parsed<AddressSlice>[]; view: ResourceView } {
  const { parsed, view } = readAll(objects.map((object) => JSON.stringify(object)).join("\n---\n"));
  return { parsed: parsed.filter(({ object }) => object.kind === "AddressSlice") as never, view };
}

test("AddressSlice lowers 100,000 addresses to an intent for each set of labels, and makes them once", () => {
  const wanted = Array.from({ length: 100_000 }, (_, at) => pod(at, { namespace: `team-${at % 50}` }));
  const slices = apply([], packAddresses([], wanted)).map((object): Parsed<AddressSlice> => ({
    object,
    ref: { group: "bpfleet.io", kind: "AddressSlice", namespace: "", name: object.metadata.name },
    positionOf: () => undefined,
  }));
  const { view } = readAll("");
  const begin = process.cpuUsage();
  const lowered = slices.flatMap((slice) => lowerSlice(slice, view).intents as readonly AddressesIntent[]);
  const { user } = process.cpuUsage(begin);
  assert.ok(user < 500_000, `${user / 1000} ms`);
  assert.equal(
    lowered.reduce((sum, { addresses }) => sum + addresses.length, 0),
    100_000,
  );
  assert.ok(lowered.length <= 7 * slices.length, `${lowered.length}`);
  const [first] = slices;
  assert.ok(first !== undefined);
  assert.deepEqual(lowerSlice(first, view).intents[0], lowered[0]);
  assert.equal(lowerSlice(first, view).intents[0], lowered[0]);
});

test("AddressSlice says of pods and nodes what their own objects would", () => {
  const [pods] = apply([], packAddresses([], [pod(1), pod(8)]), 41);
  const labels = { "kubernetes.io/os": "linux" };
  const nodes = packAddresses(
    [],
    [
      { of: "Node", ip: "172.16.0.1", node: "node-1", set: { labels } },
      { of: "Node", ip: "172.16.0.2", node: "node-2", set: { labels } },
      { of: "Node", ip: "fd00::2", node: "node-2", set: { labels } },
    ],
  ).write;
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", labels: { env: "x" } } };
  const { parsed, view } = viewOf([pods ?? {}, ...nodes, namespace]);
  const intents = parsed.flatMap((slice) => lowerSlice(slice, view).intents);
  assert.deepEqual(
    intents.map(({ origin: _origin, ...intent }) => intent),
    [
      {
        feature: "policy",
        about: "addresses",
        isFact: true,
        namespace: "shop",
        labels: deploymentSet(1).labels,
        namespaceLabels: { env: "x", "kubernetes.io/metadata.name": "shop" },
        serviceAccount: "web-1",
        namedPorts: [{ name: "http", protocol: "TCP", port: 8080 }],
        addresses: [pod(1).ip, pod(8).ip],
        version: "41",
      },
      ...(["node-1", "node-2"] as const).map((name) => ({
        feature: "policy",
        about: "host",
        isFact: true,
        name,
        labels,
        addresses: name === "node-1" ? ["172.16.0.1"] : ["172.16.0.2", "fd00::2"],
        isThisNode: name === "node-1",
      })),
    ],
  );
  const own = { apiVersion: "v1", kind: "Node", metadata: { name: "node-1" } };
  const beside = viewOf([...nodes, own]);
  assert.equal(beside.parsed.flatMap((slice) => lowerSlice(slice, beside.view).intents).length, 1);
});
