import assert from "node:assert/strict";
import { test } from "node:test";
import { refKey } from "@bpfleet/base";
import type { Intent } from "@bpfleet/features";
import type { Parsed, ResourceView } from "@bpfleet/kinds";
import fc from "fast-check";
import { Lowering, lowerObjects, type LowerableObject } from "./lowering.ts";

const facts = (labels: Readonly<Record<string, string>> = {}) => ({ nodeName: "n1", labels });

function parsedOf(kind: string, name: string, namespace: string, value: number): Parsed {
  const object = { apiVersion: "v1", kind, metadata: { name, namespace }, value };
  return { ref: { group: "", kind, namespace, name }, object, positionOf: () => undefined };
}

type Look = (view: ResourceView) => unknown;

/** Says what it saw, and how often it was asked. */
function looking(parsed: Parsed, look: Look): LowerableObject & { times: number } {
  const lowerable = {
    times: 0,
    parsed,
    kind: {
      closeRefused: () => undefined,
      lower: (own: Parsed, view: ResourceView) => {
        lowerable.times += 1;
        const intent = { own: own.object, saw: look(view) };
        return { intents: [intent as unknown as Intent], problems: [] };
      },
    },
  };
  return lowerable;
}

const pods =
  (namespace?: string): Look =>
  (view) =>
    view.list("", "Pod", namespace).map(({ object }) => object);

test("Lowering asks an object again when something that it looked at is another, and no other object", () => {
  const nothing: Look = () => 0;
  const inA = looking(parsedOf("Policy", "a", "a", 0), pods("a"));
  const inB = looking(parsedOf("Policy", "b", "b", 0), pods("b"));
  const everywhere = looking(parsedOf("Policy", "all", "", 0), pods());
  const one = looking(parsedOf("Policy", "one", "a", 0), (view) =>
    view.find({ group: "", kind: "Pod", namespace: "a", name: "p" }),
  );
  const onNode = looking(parsedOf("Policy", "node", "", 0), (view) => view.node.labels);
  const plain = looking(parsedOf("Policy", "plain", "", 0), nothing);
  const asking = [inA, inB, everywhere, one, onNode, plain];
  const pod = (value: number) => looking(parsedOf("Pod", "p", "a", value), nothing);
  const other = looking(parsedOf("Pod", "q", "b", 0), nothing);
  const lowering = new Lowering();
  const times = (): readonly number[] => asking.map((each) => each.times);
  const first = pod(1);
  lowering.lower([...asking, first, other], facts());
  lowering.lower([...asking, first, other], facts());
  assert.deepEqual(times(), [1, 1, 1, 1, 1, 1]);
  const relabelled = pod(2);
  lowering.lower([...asking, relabelled, other], facts());
  assert.deepEqual(times(), [2, 1, 2, 2, 1, 1]);
  lowering.lower([...asking, relabelled, other], facts({ zone: "x" }));
  assert.deepEqual(times(), [2, 1, 2, 2, 2, 1]);
  lowering.lower([...asking, other], facts({ zone: "x" }));
  assert.deepEqual(times(), [3, 1, 3, 3, 2, 1]);
  assert.deepEqual([first.times, relabelled.times, other.times], [1, 1, 1]);
});

test("Lowering remembers what an object makes go wrong, as that object's problem", () => {
  const bad = looking(parsedOf("Policy", "bad", "", 0), () => {
    throw new Error("oops");
  });
  const lowering = new Lowering();
  for (let times = 0; times < 2; times++) {
    const { intents, problems } = lowering.lower([bad], facts());
    assert.deepEqual([intents.length, problems.map(({ reason }) => reason)], [0, ["InternalError"]]);
  }
  assert.equal(bad.times, 1);
});

test("Lowering gives what lowering anew gives, whatever changes", () => {
  const name = fc.constantFrom("x", "y", "z");
  const namespace = fc.constantFrom("a", "b");
  const looks: readonly Look[] = [
    pods(),
    pods("a"),
    (view) => view.find({ group: "", kind: "Pod", namespace: "b", name: "x" })?.object,
    (view) => [view.node.labels, pods("b")(view)],
  ];
  const step = fc.record({
    pods: fc.uniqueArray(fc.record({ name, namespace, value: fc.nat(1) }), {
      selector: (pod) => `${pod.namespace}/${pod.name}`,
    }),
    zone: fc.constantFrom("1", "2"),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 2, maxLength: 6 }), (steps) => {
      const lowering = new Lowering();
      const asking = looks.map((look, at) => looking(parsedOf("Policy", `p${at}`, "", 0), look));
      const known = new Map<string, LowerableObject>();
      for (const each of steps) {
        const now = each.pods.map(({ name: own, namespace: of, value }) => {
          const parsed = parsedOf("Pod", own, of, value);
          const key = `${refKey(parsed.ref)} ${value}`;
          const lowerable = known.get(key) ?? looking(parsed, () => 0);
          known.set(key, lowerable);
          return lowerable;
        });
        const objects = [...asking, ...now];
        const node = facts({ zone: each.zone });
        assert.deepEqual(lowering.lower(objects, node), lowerObjects(objects, node));
      }
    }),
  );
});
