import assert from "node:assert/strict";
import { mayPass, type World } from "@bpfleet/features/testing";
import { findKind, findPolicy, type KubeObject } from "@bpfleet/kinds";
import { readConformance, type Labels } from "./conformance-cases.ts";
import { nodeIpv4, podKey, type RigPod } from "./pod-network.ts";
import { matrixOf, namespaceObject, ninePods, podObject, refOfPolicy } from "./policy-rig.ts";
import type { RunNodeCommand } from "./run-node.ts";

const conformance = readConformance();
const pool = conformance.cases
  .flatMap(({ steps }) => steps.flatMap(({ policies }) => policies))
  .filter(({ metadata }) => ["x", "y", "z"].includes(metadata.namespace ?? ""));
const slots = ["p0", "p1", "p2", "p3"];
const namedPorts = (["TCP", "UDP", "SCTP"] as const).flatMap((protocol) =>
  [80, 81].map((port) => ({ name: `serve-${port}-${protocol.toLowerCase()}`, protocol, port })),
);
const cells = matrixOf(ninePods, "ipv4", ["TCP", "UDP"]);
const addressOf = new Map(ninePods.map((pod) => [podKey(pod), pod.ipv4]));

/** Numbers from 0 to below `below`, the same for the same seed. */
export type Dice = (below: number) => number;

export function diceOf(seed: number): Dice {
  let state = seed >>> 0;
  return (below) => {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** What is declared on the rig at one time, and what may pass then. */
export class ChurnedState {
  readonly #namespaces: ReadonlyMap<string, Labels>;
  /** Those that are declared. */
  readonly #pods: ReadonlyMap<string, Labels>;
  readonly #policies: ReadonlyMap<string, KubeObject>;
  /** Keys of cells. */
  readonly allowed: ReadonlySet<string>;

  private constructor(
    namespaces: ReadonlyMap<string, Labels>,
    pods: ReadonlyMap<string, Labels>,
    policies: ReadonlyMap<string, KubeObject>,
  ) {
    this.#namespaces = namespaces;
    this.#pods = pods;
    this.#policies = policies;
    const { sent, received } = this.#judge();
    this.allowed = new Set([...sent].filter((key) => received.has(key)));
  }

  static first(): ChurnedState {
    const pods = conformance.pods.map((pod) => [podKey(pod), pod.labels] as const);
    return new ChurnedState(new Map(Object.entries(conformance.namespaces)), new Map(pods), new Map());
  }

  /** All of it. */
  objects(netnsOf: (pod: RigPod) => string): readonly KubeObject[] {
    return [
      ...[...this.#namespaces].map(([name, labels]) => namespaceObject(name, labels)),
      ...ninePods.flatMap((pod) => {
        const labels = this.#pods.get(podKey(pod));
        return labels === undefined ? [] : [podObject(pod, netnsOf(pod), labels)];
      }),
      ...this.#policies.values(),
    ];
  }

  /** One object comes, goes, or changes. */
  next(dice: Dice, netnsOf: (pod: RigPod) => string): { state: ChurnedState; change: RunNodeCommand; what: string } {
    const what = dice(10);
    if (what < 5) return this.#put(dice);
    if (what < 7 && this.#policies.size > 0) return this.#drop(dice);
    if (what < 8) return this.#labelNamespace(dice);
    return this.#changePod(dice, netnsOf);
  }

  #put(dice: Dice): ReturnType<ChurnedState["next"]> {
    const drawn = pool[dice(pool.length)] ?? assert.fail();
    const slot = slots[dice(slots.length)] ?? assert.fail();
    const before = this.#policies.get(slot);
    // A slot keeps its namespace: one object changes.
    const namespace = before?.metadata.namespace ?? drawn.metadata.namespace;
    const policy = { ...drawn, metadata: { name: slot, namespace } };
    const state = new ChurnedState(this.#namespaces, this.#pods, new Map(this.#policies).set(slot, policy));
    return {
      state,
      change: { write: [policy] },
      what: `policy ${namespace}/${slot} is ${JSON.stringify(policy.spec)}`,
    };
  }

  #drop(dice: Dice): ReturnType<ChurnedState["next"]> {
    const names = [...this.#policies.keys()];
    const name = names[dice(names.length)] ?? assert.fail();
    const policies = new Map(this.#policies);
    const policy = policies.get(name) ?? assert.fail();
    policies.delete(name);
    const state = new ChurnedState(this.#namespaces, this.#pods, policies);
    return { state, change: { remove: [refOfPolicy(policy)] }, what: `policy ${name} is removed` };
  }

  #labelNamespace(dice: Dice): ReturnType<ChurnedState["next"]> {
    const name = ["x", "y", "z"][dice(3)] ?? assert.fail();
    const ns = ["x", "y", "z"][dice(3)] ?? assert.fail();
    const labels = { ns, "kubernetes.io/metadata.name": name };
    const state = new ChurnedState(new Map(this.#namespaces).set(name, labels), this.#pods, this.#policies);
    return { state, change: { write: [namespaceObject(name, labels)] }, what: `namespace ${name} has label ns=${ns}` };
  }

  #changePod(dice: Dice, netnsOf: (pod: RigPod) => string): ReturnType<ChurnedState["next"]> {
    const pod = ninePods[dice(ninePods.length)] ?? assert.fail();
    const key = podKey(pod);
    const pods = new Map(this.#pods);
    if (pods.has(key) && dice(3) === 0) {
      pods.delete(key);
      const ref = { group: "", kind: "Pod", namespace: pod.namespace, name: pod.name };
      const state = new ChurnedState(this.#namespaces, pods, this.#policies);
      return { state, change: { remove: [ref] }, what: `pod ${key} is removed` };
    }
    const labels = { pod: ["a", "b", "c"][dice(3)] ?? "a" };
    const state = new ChurnedState(this.#namespaces, pods.set(key, labels), this.#policies);
    const change = { write: [podObject(pod, netnsOf(pod), labels)] };
    return { state, change, what: `pod ${key} has label pod=${labels.pod}` };
  }

  /** Whether a packet may pass while this state becomes the next one: as one of both has it, and no mixture. */
  mayPassUntil(next: ChurnedState, key: string): boolean {
    return this.allowed.has(key) || next.allowed.has(key);
  }

  #judge(): { readonly sent: ReadonlySet<string>; readonly received: ReadonlySet<string> } {
    const policies = [...this.#policies.values()].map((policy) => {
      const result = findKind(policy.apiVersion, policy.kind)?.parse(policy);
      assert.ok(result?.ok, JSON.stringify(result));
      return findPolicy(result.value) ?? assert.fail();
    });
    const world: World = {
      localHost: "auto",
      nodes: [{ name: "rig", labels: {}, addresses: [nodeIpv4], isThisNode: true }],
      pods: ninePods.flatMap((pod) => {
        const labels = this.#pods.get(podKey(pod));
        if (labels === undefined) return [];
        const { namespace, ipv4 } = pod;
        const namespaceLabels = this.#namespaces.get(namespace) ?? {};
        const own = { name: podKey(pod), namespace, labels, namespaceLabels, serviceAccount: "default", namedPorts };
        return [{ ...own, addresses: [ipv4], isOnThisNode: true }];
      }),
    };
    const mayDo = (direction: "egress" | "ingress"): ReadonlySet<string> => {
      const may = cells.filter(({ from, to, protocol, port }) =>
        mayPass(policies, world, { from: addressOf.get(from) ?? assert.fail(), to, protocol, port }, direction),
      );
      return new Set(may.map(({ key }) => key));
    };
    return { sent: mayDo("egress"), received: mayDo("ingress") };
  }
}
