import assert from "node:assert/strict";
import type { ObjectRef } from "@bpfleet/base";
import { mayPass, type World } from "@bpfleet/features/testing";
import { findKind, findPolicy, type KubeObject } from "@bpfleet/kinds";
import { readConformance, type Labels } from "./conformance-cases.ts";
import { drawCiliumPolicy } from "./cilium-policies.ts";
import { nodeIpv4, nodeIpv6, podKey, type RigPod } from "./pod-network.ts";
import { families, matrixOf, namespaceObject, ninePods, podObject, refOfPolicy, type Cell } from "./policy-rig.ts";
import type { RunNodeCommand } from "./run-node.ts";

const conformance = readConformance();
const pool = conformance.cases
  .flatMap(({ steps }) => steps.flatMap(({ policies }) => policies))
  .filter(({ metadata }) => ["x", "y", "z"].includes(metadata.namespace ?? ""));
/** Of NetworkPolicies, and of CiliumNetworkPolicies. */
const slots = ["p0", "p1", "p2", "c0", "c1", "c2"];
const namedPorts = (["TCP", "UDP", "SCTP"] as const).flatMap((protocol) =>
  [80, 81].map((port) => ({ name: `serve-${port}-${protocol.toLowerCase()}`, protocol, port })),
);
/** What is asked, by both families. */
export const cells: readonly Cell[] = families.flatMap((family) =>
  matrixOf(ninePods, family, ["TCP", "UDP"]).map((cell) => ({ ...cell, key: `${cell.key} ${family}` })),
);
const podOf = new Map(ninePods.map((pod) => [podKey(pod), pod]));

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

  /** Some objects come, go, or change, none of them twice. */
  next(dice: Dice, netnsOf: (pod: RigPod) => string): NextState {
    const wanted = 1 + dice(3);
    const changes = new Map<string, Change>();
    for (let tries = 0; changes.size < wanted && tries < 20; tries++) {
      const change = this.#draw(dice, netnsOf);
      const { group, kind, namespace, name } = "write" in change ? refOfPolicy(change.write) : change.remove;
      // A slot of policies is of no namespace until it has one.
      const key = `${kind} ${group === "" ? namespace : ""} ${name}`;
      if (!changes.has(key)) changes.set(key, change);
    }
    // As the rig does it.
    const ordered = [...changes.values()].toSorted((a, b) => Number("remove" in a) - Number("remove" in b));
    const states: ChurnedState[] = [];
    for (const { apply } of ordered) states.push(apply(states.at(-1) ?? this));
    return {
      state: states.at(-1) ?? this,
      between: states.slice(0, -1),
      change: {
        write: ordered.flatMap((each) => ("write" in each ? [each.write] : [])),
        remove: ordered.flatMap((each) => ("remove" in each ? [each.remove] : [])),
      },
      what: ordered.map(({ what }) => what).join("; "),
    };
  }

  #draw(dice: Dice, netnsOf: (pod: RigPod) => string): Change {
    const what = dice(10);
    if (what < 5) return this.#put(dice);
    if (what < 7 && this.#policies.size > 0) return this.#drop(dice);
    if (what < 8) return labelNamespace(dice);
    return this.#changePod(dice, netnsOf);
  }

  #put(dice: Dice): Change {
    const slot = slots[dice(slots.length)] ?? assert.fail();
    const drawn = slot.startsWith("c") ? drawCiliumPolicy(dice) : (pool[dice(pool.length)] ?? assert.fail());
    // A slot keeps its namespace: one object changes.
    const namespace = this.#policies.get(slot)?.metadata.namespace ?? drawn.metadata.namespace;
    const policy = { ...drawn, metadata: { name: slot, namespace } };
    return {
      apply: (state) => state.#with({ policies: new Map(state.#policies).set(slot, policy) }),
      write: policy,
      what: `policy ${namespace}/${slot} is ${JSON.stringify(policy.spec)}`,
    };
  }

  #drop(dice: Dice): Change {
    const names = [...this.#policies.keys()];
    const name = names[dice(names.length)] ?? assert.fail();
    return {
      apply: (state) => state.#with({ policies: without(state.#policies, name) }),
      remove: refOfPolicy(this.#policies.get(name) ?? assert.fail()),
      what: `policy ${name} is removed`,
    };
  }

  #changePod(dice: Dice, netnsOf: (pod: RigPod) => string): Change {
    const pod = ninePods[dice(ninePods.length)] ?? assert.fail();
    const key = podKey(pod);
    if (this.#pods.has(key) && dice(3) === 0) {
      return {
        apply: (state) => state.#with({ pods: without(state.#pods, key) }),
        remove: { group: "", kind: "Pod", namespace: pod.namespace, name: pod.name },
        what: `pod ${key} is removed`,
      };
    }
    const labels = { pod: ["a", "b", "c"][dice(3)] ?? "a" };
    return {
      apply: (state) => state.#with({ pods: new Map(state.#pods).set(key, labels) }),
      write: podObject(pod, netnsOf(pod), labels),
      what: `pod ${key} has label pod=${labels.pod}`,
    };
  }

  #with({
    namespaces = this.#namespaces,
    pods = this.#pods,
    policies = this.#policies,
  }: {
    readonly namespaces?: ReadonlyMap<string, Labels>;
    readonly pods?: ReadonlyMap<string, Labels>;
    readonly policies?: ReadonlyMap<string, KubeObject>;
  }): ChurnedState {
    return new ChurnedState(namespaces, pods, policies);
  }

  /** With another label. */
  withNamespace(name: string, labels: Labels): ChurnedState {
    return this.#with({ namespaces: new Map(this.#namespaces).set(name, labels) });
  }

  #judge(): { readonly sent: ReadonlySet<string>; readonly received: ReadonlySet<string> } {
    const policies = [...this.#policies.values()].map((policy) => {
      const result = findKind(policy.apiVersion, policy.kind)?.parse(policy);
      assert.ok(result?.ok, JSON.stringify(result));
      return findPolicy(result.value) ?? assert.fail();
    });
    const world: World = {
      localHost: "auto",
      nodes: [{ name: "rig", labels: {}, addresses: [nodeIpv4, nodeIpv6], isThisNode: true }],
      pods: ninePods.flatMap((pod) => {
        const labels = this.#pods.get(podKey(pod));
        if (labels === undefined) return [];
        const { namespace, ipv4, ipv6 } = pod;
        const namespaceLabels = this.#namespaces.get(namespace) ?? {};
        const own = { name: podKey(pod), namespace, labels, namespaceLabels, serviceAccount: "default", namedPorts };
        return [{ ...own, addresses: [ipv4, ipv6], isOnThisNode: true }];
      }),
    };
    const mayDo = (direction: "egress" | "ingress"): ReadonlySet<string> => {
      const may = cells.filter(({ from, to, protocol, port }) =>
        mayPass(
          policies,
          world,
          { from: addressLike(to, podOf.get(from) ?? assert.fail()), to, protocol, port },
          direction,
        ),
      );
      return new Set(may.map(({ key }) => key));
    };
    return { sent: mayDo("egress"), received: mayDo("ingress") };
  }
}

/** What one becomes, with those that somebody may see before it is there: files change one after the other. */
export interface NextState {
  readonly state: ChurnedState;
  readonly between: readonly ChurnedState[];
  readonly change: RunNodeCommand;
  readonly what: string;
}

/** Of one object. */
type Change = { readonly apply: (state: ChurnedState) => ChurnedState; readonly what: string } & (
  | { readonly write: KubeObject }
  | { readonly remove: ObjectRef }
);

function labelNamespace(dice: Dice): Change {
  const name = ["x", "y", "z"][dice(3)] ?? assert.fail();
  const ns = ["x", "y", "z"][dice(3)] ?? assert.fail();
  const labels = { ns, "kubernetes.io/metadata.name": name };
  return {
    apply: (state) => state.withNamespace(name, labels),
    write: namespaceObject(name, labels),
    what: `namespace ${name} has label ns=${ns}`,
  };
}

function without<T>(map: ReadonlyMap<string, T>, key: string): ReadonlyMap<string, T> {
  return new Map([...map].filter(([name]) => name !== key));
}

/** Of the same family. */
function addressLike(other: string, { ipv4, ipv6 }: RigPod): string {
  return other.includes(":") ? ipv6 : ipv4;
}
