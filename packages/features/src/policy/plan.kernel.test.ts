import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  applyActions,
  assemblePlan,
  diffPlan,
  emptyJournal,
  mapIdentity,
  observePlan,
  renderAction,
  type MapEntries,
  type NodePlan,
} from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import { NodeKernel } from "@bpfleet/native";
import { InnerProcess, KernelSandbox, listenUdp, receivedUdp, sendUdp } from "@bpfleet/native/testing";
import type { InstanceCounters } from "../feature.ts";
import type { PolicyFeatureIntent, WorkloadIntent } from "./intent.ts";
import { policy as feature } from "./policy-feature.ts";
import type { Policy, PortMatch } from "./policy.ts";
import { policyOf, tcp, type WrittenRule } from "./testing/written-policy.ts";

const elf = readFileSync(new URL("../../../../build/bpf/policy.bpf.o", import.meta.url));
const digest = createHash("sha256").update(elf).digest("hex");
const pod = { group: "", kind: "Pod", namespace: "x", name: "a" };
const workload: WorkloadIntent = {
  feature: "policy",
  about: "workload",
  isFact: true,
  origin: { object: pod, path: "" },
  pod,
  labels: {},
  namespaceLabels: {},
  serviceAccount: "",
  namedPorts: [],
  addresses: ["10.9.0.2"],
  isHostNetwork: false,
  endpoint: "a",
};

/** A node at 10.9.0.1 with one pod at 10.9.0.2, each in a network namespace. */
class PolicyNode implements AsyncDisposable {
  readonly #sandbox: KernelSandbox;
  readonly #inNode: InnerProcess;
  readonly #inPod: InnerProcess;
  readonly #ifindex: number;
  readonly udpPort: number;
  readonly port: NodeKernel;
  #plan: NodePlan = assemblePlan([]);

  private constructor(
    sandbox: KernelSandbox,
    processes: readonly [InnerProcess, InnerProcess],
    udpPort: number,
    ifindex: number,
    port: NodeKernel,
  ) {
    this.#sandbox = sandbox;
    [this.#inNode, this.#inPod] = processes;
    this.udpPort = udpPort;
    this.#ifindex = ifindex;
    this.port = port;
  }

  static async open(): Promise<PolicyNode> {
    await using made = new AsyncDisposableStack();
    const sandbox = made.use(new KernelSandbox());
    const { near, far } = sandbox.pair();
    const bpffsDir = await sandbox.bpffs();
    const inNode = made.use(await InnerProcess.start({ netns: near.name }));
    const inPod = made.use(await InnerProcess.start({ netns: far.name }));
    const udpPort = await listenUdp(inNode, "10.9.0.1");
    const port = await NodeKernel.open({ bpffsDir, netns: near.path, loadObject: async () => elf });
    made.move();
    return new PolicyNode(sandbox, [inNode, inPod], udpPort, near.ifindex, port);
  }

  /** Puts these policies in force, and nothing else: what was done. */
  async apply(...policies: readonly Policy[]): Promise<readonly string[]> {
    const intents = policies.map((each): PolicyFeatureIntent => {
      const origin = { object: each.ref, path: "" };
      return { feature: "policy", about: "policy", origin, tier: "policy", policy: each };
    });
    const mac = "02:00:00:00:00:01";
    const facts = nodeFacts({
      objects: { policy: { digest } },
      interfaces: [interfaceFacts("v0", { ifindex: this.#ifindex, addresses: ["10.9.0.1/24"] })],
      endpoints: { a: { found: true, interface: "v0", ifindex: this.#ifindex, addresses: ["10.9.0.2/24"], mac } },
    });
    const part = feature.plan([workload, ...intents], facts);
    assert.deepEqual(part.problems, []);
    this.#plan = assemblePlan([part]);
    assert.deepEqual(this.#plan.problems, []);
    const observed = await observePlan(this.port, this.#plan);
    const actions = diffPlan(this.#plan, observed, emptyJournal, { inline: true, stub: true });
    const { outcomes } = await applyActions(actions, this.port, { plan: this.#plan, observed });
    assert.deepEqual(
      outcomes.flatMap(({ error }) => (error === undefined ? [] : [error.message])),
      [],
    );
    const rest = diffPlan(this.#plan, await observePlan(this.port, this.#plan), emptyJournal, {
      inline: true,
      stub: true,
    });
    assert.deepEqual(rest.map(renderAction), []);
    return actions.map(renderAction);
  }

  /** Datagrams from the pod to its node: how many arrived until now, of the first ones so many are waited for. */
  async send(count: number, arriving: number): Promise<number> {
    await sendUdp(this.#inPod, { address: "10.9.0.1", port: this.udpPort }, count);
    return receivedUdp(this.#inNode, arriving);
  }

  async counters(key: string): Promise<InstanceCounters> {
    const instance = this.#plan.instances.find((each) => each.key === key) ?? assert.fail(key);
    const readings = new Map<string, MapEntries>();
    for (const role of feature.counterRoles) {
      const spec = this.#plan.maps.find((each) => each.key === instance.maps[role]);
      const entries = spec && (await this.port.readMap(mapIdentity(spec)));
      if (entries !== undefined) readings.set(role, entries);
    }
    return feature.counters(instance, readings);
  }

  async rules(): Promise<Readonly<Record<string, number>>> {
    const { rules } = await this.counters("policy/objects/networking.k8s.io/NetworkPolicy/x/p");
    return Object.fromEntries(rules.map(({ rule, counter }) => [rule.text, Number(counter.packets)]));
  }

  async reason(name: string): Promise<number> {
    return Number((await this.counters("policy/node")).reasons[name]?.packets ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of [this.#inNode, this.#inPod]) await process[Symbol.asyncDispose]();
    await this.port.removeEverything();
    await this.#sandbox[Symbol.asyncDispose]();
  }
}

const udp = (port: number): PortMatch => ({
  ...tcp(port),
  match: "ports",
  protocol: "UDP",
  from: port,
  to: port,
  dns: undefined,
});
const sending = (...allow: readonly WrittenRule[]): Policy => policyOf("p", { egress: { allow } });

test("policy.plan comes true in the kernel: edits keep counters, load nothing and touch no hook", async () => {
  await using node = await PolicyNode.open();
  const at = `allow egress to anybody at UDP ${node.udpPort}`;
  const listener = { ports: [udp(node.udpPort)] };
  await node.apply(sending(listener));
  assert.equal(await node.send(5, 5), 5);
  assert.deepEqual(await node.rules(), { [at]: 5 });
  const edit = await node.apply(sending({ ports: [tcp(80)] }, listener));
  assert.deepEqual(
    edit.filter((action) => /program|hook/.test(action)),
    [],
  );
  assert.equal(await node.send(3, 8), 8);
  assert.deepEqual(await node.rules(), { "allow egress to anybody at TCP 80": 0, [at]: 8 });
  await node.apply(sending({ ports: [tcp(80)] }));
  assert.equal(await node.send(4, 8), 8);
  assert.equal((await node.reason("default_deny")) + (await node.reason("revoked")), 4);
  await node.apply();
  assert.equal(await node.send(2, 10), 10);
  assert.deepEqual((await node.port.observe()).hooks, []);
});
