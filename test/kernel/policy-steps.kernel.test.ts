import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { DirectoryStore } from "@bpfleet/agent";
import { until } from "@bpfleet/daemon/testing";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";
import type { Met, Probe } from "./policy-rig/prober.ts";

const pods = ["a", "b", "c", "d", "e"].map((name, at) => rigPod("x", name, at + 1));
const patientMs = 1000;
/** Between neighbours; each state lets one pass that the other does not, and both let pass the last. */
const ports = { dns: 53, first: 80, second: 81, one: 83, other: 84, always: 85 } as const;

/**
 * Of each pod: what it sends goes by one port, what it receives by another, and the two states are the other way round. So
 * neither lets anything pass by `first` and `second`, and any mixture of both does.
 */
function policies(state: "one" | "other", isNamed: boolean): readonly KubeObject[] {
  const [sent, received] = state === "one" ? [ports.first, ports.second] : [ports.second, ports.first];
  const rules = (port: number) => {
    const all = [port, ports[state], ports.always].map(String);
    return [{ toPorts: [{ ports: all.map((each) => ({ port: each, protocol: "ANY" })) }] }];
  };
  const asking = { toPorts: [{ ports: [{ port: "53", protocol: "UDP" }], rules: { dns: [{ matchName: "a.test" }] } }] };
  const hearing = { toPorts: [{ ports: [{ port: "53", protocol: "UDP" }] }] };
  return pods.map(({ name, namespace }) => ({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace },
    spec: {
      endpointSelector: { matchLabels: { app: name } },
      // What is no question for a.test is let pass by neither.
      egress: [...rules(sent), ...(isNamed ? [asking] : [])],
      ingress: [...rules(received), hearing],
    },
  }));
}

const got = (met: Met | undefined): boolean => met === "answered" || met === "arrived";

describe("an edit of several objects", () => {
  let rig: PolicyRig;
  /** As somebody else's process writes it. */
  let store: DirectoryStore;
  before(async () => {
    rig = await PolicyRig.make("routed", pods, { ports: Object.values(ports) });
    store = new DirectoryStore({ directory: rig.store, clock: Date });
    await rig.change({
      write: [
        namespaceObject("x", {}),
        ...pods.map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name })),
        ...policies("one", false),
      ],
    });
  });
  after(() => rig?.[Symbol.asyncDispose]());

  function probes(...each: readonly number[]): readonly Probe[] {
    return pods.flatMap((from, at) => {
      const to = pods[(at + 1) % pods.length] ?? assert.fail();
      return each.flatMap((port) =>
        (["TCP", "UDP"] as const)
          .filter((protocol) => port !== ports.dns || protocol === "UDP")
          .map((protocol) => ({ from: podKey(from), to: to.ipv4, protocol, port })),
      );
    });
  }

  async function write(wanted: readonly KubeObject[]): Promise<void> {
    await store.writeAll(
      wanted.map((value) => ({
        ref: refOfPolicy(value),
        value,
        text: JSON.stringify(value),
        source: { file: "steps.yaml", line: 1, isRendered: true },
      })),
    );
  }

  /** What neither state lets pass, asked all the time. */
  function watch(): { end(): Promise<{ readonly passed: readonly string[]; readonly rounds: number }> } {
    const asked = probes(ports.first, ports.second, ports.dns);
    const ending = new AbortController();
    const watching = (async () => {
      const passed: string[] = [];
      let rounds = 0;
      for (; !ending.signal.aborted || rounds === 0; rounds++) {
        const met = await rig.prober.probe(asked, 5);
        passed.push(...asked.flatMap((probe, at) => (got(met[at]) ? [JSON.stringify(probe)] : [])));
      }
      return { passed, rounds };
    })();
    return {
      end: () => {
        ending.abort();
        return watching;
      },
    };
  }

  async function answered(port: number): Promise<boolean> {
    const met = await rig.prober.probe(probes(port), 500);
    return met.every((each) => each === "answered");
  }

  async function stateIs(state: "one" | "other"): Promise<void> {
    await until(`${state} is in force`, () => answered(ports[state]), 120_000);
    assert.deepEqual(
      await rig.prober.probe(probes(ports[state === "one" ? "other" : "one"])),
      Array(10).fill("nothing"),
    );
    assert.deepEqual(await rig.prober.probe(probes(ports.always), patientMs), Array(10).fill("answered"));
  }

  it("is one step for packets: none passes that neither the old nor the new policies let pass", async (t) => {
    let rounds = 0;
    for (let step = 1; step <= 10; step++) {
      const state = step % 2 === 1 ? "other" : "one";
      const watching = watch();
      await write(policies(state, step % 3 === 0));
      await stateIs(state);
      const seen = await watching.end();
      assert.deepEqual(seen.passed, [], `step ${step}`);
      rounds += seen.rounds;
    }
    t.diagnostic(`${rounds} rounds of ${probes(ports.first, ports.second, ports.dns).length} probes`);
  });

  /** Leaves the node so many more descriptors. */
  function leaveDescriptors(count: number): void {
    const taken = new Set(readdirSync(`/proc/${rig.pid}/fd`).map(Number));
    let limit = 0;
    for (let free = 0; free < count; limit++) if (!taken.has(limit)) free++;
    execFileSync("prlimit", ["--pid", String(rig.pid), `--nofile=${limit}:`]);
  }

  it("that the kernel refuses half-way changes nothing, says why, and comes into force when it can", async () => {
    const hard = /^Max open files +\S+ +(\d+)/m.exec(readFileSync(`/proc/${rig.pid}/limits`, "utf8"))?.[1] ?? "4096";
    const release = (): void => void execFileSync("prlimit", ["--pid", String(rig.pid), `--nofile=${hard}:`]);
    // The first few do not even let it look at the kernel; a program takes more than the last, a map does not.
    for (const left of [2, 20]) {
      await write(policies("one", false));
      await stateIs("one");
      const watching = watch();
      leaveDescriptors(left);
      try {
        await write(policies("other", true));
        const { objects, trouble } = await rig.change({});
        const told = objects.filter(({ ref }) => ref.group === "cilium.io");
        await stateIs("one");
        if (left === 2) assert.match(`${trouble} ${rig.log}`, /too many open files|EMFILE/);
        else
          for (const { state, messages } of told)
            assert.match(
              `${state}: ${messages.join("; ")}`,
              /^failed: .*load program .*too many open files \(EMFILE\)/,
            );
      } finally {
        release();
      }
      await stateIs("other");
      assert.deepEqual((await watching.end()).passed, [], `with ${left} descriptors`);
    }
    const { objects } = await rig.change({});
    assert.deepEqual([...new Set(objects.map(({ state }) => state))], ["in-force"]);
  });
});
