import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { refKey, type ObjectRef } from "@bpfleet/base";
import type { KubeObject } from "@bpfleet/kinds";
import { inFamily, readConformance, type Action, type Labels, type Step } from "./policy-rig/conformance-cases.ts";
import { podKey, rigPod, type Wiring } from "./policy-rig/pod-network.ts";
import {
  type families,
  matrixOf,
  namespaceObject,
  ninePods,
  podObject,
  PolicyRig,
  refOfPolicy,
} from "./policy-rig/policy-rig.ts";
import type { Probe } from "./policy-rig/prober.ts";
import type { RunNodeCommand } from "./policy-rig/run-node.ts";

/** Of the usual form every case; of the others one in so many, unless all are asked for. */
const sampled = process.env["CONFORMANCE"] === "all" ? 1 : 9;
const forms: readonly {
  readonly wiring: Wiring;
  readonly family: (typeof families)[number];
  readonly from?: number;
}[] = [
  { wiring: "routed", family: "ipv4" },
  { wiring: "routed", family: "ipv6", from: 1 },
  { wiring: "bridged", family: "ipv4", from: 4 },
  { wiring: "bridged", family: "ipv6", from: 7 },
];
const conformance = readConformance();
/** One case makes it. */
const tenth = rigPod("w", "a", 10);
const pods = [...ninePods, tenth];
/** What nothing answers at first is tried again with more patience, where an answer is expected. */
const patientMs = 1000;

/** The objects of the rig, and what to write for each change. */
class Objects {
  readonly #rig: PolicyRig;
  readonly #held = new Map<string, { readonly ref: ObjectRef; readonly text: string }>();
  readonly #namespaces = new Map<string, Labels>();
  readonly #pods = new Map<string, Labels>();

  constructor(rig: PolicyRig) {
    this.#rig = rig;
    this.reset();
  }

  reset(): void {
    this.#namespaces.clear();
    this.#pods.clear();
    for (const [name, labels] of Object.entries(conformance.namespaces)) this.#namespaces.set(name, labels);
    for (const pod of conformance.pods) this.#pods.set(podKey(pod), pod.labels);
  }

  act(action: Action): void {
    const { CreateNamespace, SetNamespaceLabels, DeleteNamespace, CreatePod, SetPodLabels, DeletePod } = action;
    const namespace = CreateNamespace ?? SetNamespaceLabels;
    if (namespace) this.#namespaces.set(namespace.Namespace, namespace.Labels);
    if (DeleteNamespace) this.#namespaces.delete(DeleteNamespace.Namespace);
    const pod = CreatePod ?? SetPodLabels;
    if (pod) this.#pods.set(`${pod.Namespace}/${pod.Pod}`, pod.Labels);
    if (DeletePod) this.#pods.delete(`${DeletePod.Namespace}/${DeletePod.Pod}`);
  }

  /** From what is held to what there is now. */
  change(policies: readonly KubeObject[]): RunNodeCommand {
    const wanted = [
      ...[...this.#namespaces].map(([name, labels]) => namespaceObject(name, labels)),
      ...pods.flatMap((pod) => {
        const labels = this.#pods.get(podKey(pod));
        return labels === undefined ? [] : [podObject(pod, this.#rig.network.netnsOf(pod), labels)];
      }),
      ...policies,
    ].map((object) => ({ object, ref: refOfPolicy(object), text: JSON.stringify(object) }));
    const keys = new Set(wanted.map(({ ref }) => refKey(ref)));
    const remove = [...this.#held.values()].flatMap(({ ref }) => (keys.has(refKey(ref)) ? [] : [ref]));
    const write = wanted.filter(({ ref, text }) => this.#held.get(refKey(ref))?.text !== text);
    for (const ref of remove) this.#held.delete(refKey(ref));
    for (const { ref, text } of write) this.#held.set(refKey(ref), { ref, text });
    return { write: write.map(({ object }) => object), remove };
  }
}

for (const { wiring, family, from } of forms)
  describe(`NetworkPolicy, with real packets of ${family} in network namespaces, ${wiring}`, () => {
    let rig: PolicyRig;
    let objects: Objects;
    before(async () => {
      rig = await PolicyRig.make(wiring, pods);
      objects = new Objects(rig);
      await rig.change(objects.change([]));
    });
    after(() => rig?.[Symbol.asyncDispose]());

    const matrix = matrixOf(pods, family, ["TCP", "UDP"]);
    /** What was sent and is not allowed. */
    const blocked = new Set<Probe>();

    /** Cells that are not as expected. */
    async function wrongCells({ expect }: Step): Promise<readonly string[]> {
      const asked = matrix.filter(({ key }) => expect.has(key)).map((cell) => ({ ...cell }));
      assert.equal(asked.length, expect.size);
      const isAllowed = ({ key }: (typeof asked)[number]): boolean => expect.get(key) === "allowed";
      for (const cell of asked) if (!isAllowed(cell)) blocked.add(cell);
      const met = await rig.prober.probe(asked);
      const wrong = asked.filter((cell, at) => (met[at] === "answered") !== isAllowed(cell));
      const again = await rig.prober.probe(wrong, patientMs);
      return wrong.flatMap((cell, at) => {
        const isOpen = again[at] === "answered" || !isAllowed(cell);
        return isOpen === isAllowed(cell) ? [] : [`${cell.key} is ${again[at]}, expected ${expect.get(cell.key)}`];
      });
    }

    for (const [at, { description, steps }] of conformance.cases.entries()) {
      if (from !== undefined && at % sampled !== from % sampled) continue;
      it(`${at + 1}: ${description}`, async () => {
        objects.reset();
        for (const [number, step] of steps.entries()) {
          for (const action of step.actions) objects.act(action);
          const policies = step.policies.map((policy) => inFamily(policy, family));
          const { trouble, objects: reports } = await rig.change(objects.change(policies));
          assert.equal(trouble, undefined);
          assert.deepEqual(
            reports.flatMap(({ ref, state, messages }) =>
              state === "in-force"
                ? []
                : [`${ref.kind} ${ref.namespace}/${ref.name} is ${state}: ${messages.join("; ")}`],
            ),
            [],
          );
          assert.deepEqual(await wrongCells(step), [], `step ${number + 1} of ${steps.length}`);
        }
      });
    }

    it("no packet that was blocked arrived later", async () => {
      const late = await rig.prober.late();
      assert.ok(blocked.size > 0);
      assert.deepEqual(
        late.filter((probe) => blocked.has(probe)),
        [],
      );
    });
  });
