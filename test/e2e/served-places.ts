import assert from "node:assert/strict";
import { join } from "node:path";
import { root, type Fleet } from "./fleet.ts";

const kinds = join(root, "packages/kinds/src/networking.fos1.io");
/** Of the documents; they are on eth0 of the node, and on the pods of namespace default. */
const samples = [
  ...["tc-ingress-limit", "tc-egress-marking", "pod-accounting", "socket-monitoring"].map(
    (name) => ["ebpfprogram", name] as const,
  ),
  ["ebpfmap", "blacklist-map"] as const,
];
const pinned = "blacklist";

const config = (name: string, spec: object): object => ({
  apiVersion: "bpfd.io/v1alpha1",
  kind: "BpfProgramConfig",
  metadata: { name },
  spec: { ...spec, nodeselector: {}, bytecode: { image: { url: "quay.io/bpfd/bytecode:owners" } } },
});

/** Of one image, whose programs have maps. */
const configs = {
  classifier: {
    name: "classifier",
    type: "TC",
    attachpoint: { networkmultiattach: { interface: "eth0", priority: 60, direction: "INGRESS" } },
  },
  hello: { name: "hello", type: "TRACEPOINT", attachpoint: { singleattach: { name: "sched/sched_switch" } } },
};

/** Something at each kind of place beside XDP, which the daemon of a real pod reaches with what it has there. */
export class ServedPlaces {
  readonly #fleet: Fleet;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  async declare(): Promise<void> {
    const fleet = this.#fleet;
    await fleet.pushBytecode(join(root, "test/kernel/testdata/owners.bpf.c"), "owners");
    const items = Object.entries(configs).map(([name, spec]) => config(name, spec));
    await fleet.apply(JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    await fleet.cluster.kubectl([
      "apply",
      ...samples.map(([kind, name]) => `-f${join(kinds, kind, `samples/${name}.yaml`)}`),
    ]);
  }

  /** Each says that it is in force, and the kernel of the node says so too. */
  async judge(): Promise<void> {
    const { cluster, node } = this.#fleet;
    for (const [kind, name] of samples)
      await cluster.kubectl(["wait", "--for=condition=Ready", `${kind}/${name}`, "--timeout=120s"]);
    for (const name of Object.keys(configs))
      await cluster.until(`${name} is loaded`, async () => {
        const path = "jsonpath={.status.conditions[*].reason}";
        const said = await cluster.kubectl(["get", "bpfprogram", `${name}-${node.name}`, "-o", path]);
        return said.includes("bpfdLoaded");
      });
    const links = await this.#fleet.exec("ebpfctl", "link", "list", "--ours");
    for (const place of [
      /tc-ingress|tcx_ingress/,
      /tc-egress|tcx_egress/,
      /sock_ops/,
      /inet_egress|egress/,
      /tracepoint|sched_switch/,
    ])
      assert.match(links, place);
    assert.match(await node.run(["ls", "/sys/fs/bpf"]), new RegExp(`^${pinned}$`, "m"));
  }

  async remove(): Promise<void> {
    const { cluster, node } = this.#fleet;
    const all = [
      ...samples.map(([kind, name]) => `${kind}/${name}`),
      ...Object.keys(configs).map((name) => `bpfprogramconfig/${name}`),
    ];
    await cluster.kubectl(["delete", ...all, "--timeout=120s"]);
    await cluster.until("the pin goes", async () => !(await node.run(["ls", "/sys/fs/bpf"])).includes(pinned));
  }
}
