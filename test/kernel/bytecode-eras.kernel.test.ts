import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { BpfMap } from "@bpfleet/native";
import { InnerProcess } from "@bpfleet/native/testing";
import { bytecodeAbsence, BytecodeNode, causeOf, imageOf, nodeName, pinsOf } from "./bytecode-node.ts";

const samples = join(import.meta.dirname, "../../packages/kinds/src/bpfd.io/bpfprogramconfig/samples");
const sample = (name: string): string => readFileSync(join(samples, `${name}.yaml`), "utf8");
const agentFinalizer = "bpfd.io.agent/finalizer";

/** Of a per-CPU array with numbers of eight bytes: the sum over the processors of one number of one value. */
function sumOf(pin: string, key: number, field = 0): bigint {
  using map = BpfMap.openPinned(pin, { readOnly: true });
  const at = Buffer.alloc(4);
  at.writeUInt32LE(key);
  const value = map.getRaw(at) ?? assert.fail(`${pin} has no entry ${key}`);
  const size = Math.ceil(map.info.valueSize / 8) * 8;
  let sum = 0n;
  for (let cpu = 0; cpu * size < value.length; cpu++) sum += value.readBigUInt64LE(cpu * size + field * 8);
  return sum;
}

const nodeObject = (labels: string, address?: string): string => `apiVersion: v1
kind: Node
metadata: { name: ${nodeName}, labels: { ${labels} } }
${address === undefined ? "" : `status: { addresses: [{ type: InternalIP, address: "${address}" }] }\n`}`;

describe("configs of every time of the API", { skip: bytecodeAbsence ?? false }, async () => {
  if (bytecodeAbsence !== undefined) return;
  const node = await BytecodeNode.make();
  after(() => node[Symbol.asyncDispose]());
  for (const type of ["xdp", "tc", "tracepoint"] as const) {
    const image = imageOf(node.compile("go-counters", [`-D${type.toUpperCase()}`]));
    await node.push(`quay.io/bpfd-bytecode/go-${type}-counter:latest`, image);
  }
  const owners = node.image();
  for (const name of ["quay.io/bpfd-bytecode/xdp_pass:latest", "quay.io/bpfd/bytecode:xdp_pass"])
    await node.push(name, owners);
  await node.node.up("mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing");

  const hasXdp = (name: string): boolean => node.ip("-d", "link", "show", name).includes("prog/xdp");
  const hasMaps = (): boolean => existsSync(join(node.node.bpffs, "maps"));

  it("run on a node while its labels match, and are told as NotSelected while they do not", async () => {
    const name = "go-counter-example";
    await node.apply(sample(name));
    const before = await node.current(name, "NotSelected");
    assert.deepEqual([before.spec.programs, before.metadata.finalizers], [{}, undefined]);
    assert.equal(hasXdp("eth0"), false);

    await node.apply(nodeObject('deploy-ebpf: "true"'));
    const first = await node.current(name, "Loaded");
    assert.deepEqual(first.metadata.finalizers, [agentFinalizer]);
    assert.equal(node.ping(5), 5);
    assert.ok(sumOf(pinsOf(first)["xdp_stats_map"] ?? "", 2) >= 5n);

    await node.apply(nodeObject('deploy-ebpf: "false"'));
    const off = await node.current(name, "NotSelected");
    assert.deepEqual([off.spec.programs, off.metadata.finalizers], [{}, undefined]);
    assert.deepEqual(
      off.status?.conditions?.map(({ type, reason, message, status }) => [type, reason, message, status]),
      [
        ["Loaded", "bpfdLoaded", "Successfully loaded bpfProgram", "True"],
        ["NotSelected", "nodeNotSelected", "This node is not selected to run the bpfProgram", "True"],
      ],
    );
    assert.equal(hasXdp("eth0"), false);
    assert.equal(hasMaps(), false);
    assert.equal(node.ping(3), 3);
    assert.match(await node.node.do("get", "bpfprogramconfig", name, "-o", "yaml"), /type: ReconcileSuccess\n$/);

    await node.apply(nodeObject('deploy-ebpf: "true"'));
    const again = await node.current(name, "Loaded");
    assert.deepEqual(again.metadata.finalizers, [agentFinalizer]);
    assert.deepEqual(again.spec, first.spec);
    assert.equal(node.ping(5), 5);
    assert.ok(sumOf(pinsOf(again)["xdp_stats_map"] ?? "", 2) >= 5n);

    await node.node.do("delete", "node", nodeName);
    await node.current(name, "NotSelected");
    assert.equal(hasXdp("eth0"), false);
    await node.remove(name);
  });

  const spec = "name: pass, type: XDP, nodeselector: {}";
  const reference = "quay.io/bpfd-bytecode/xdp_pass:latest";
  const at = (place: string): string => `attachpoint: { networkmultiattach: { ${place}, priority: 5 } }`;
  const eras: readonly (readonly [string, string])[] = [
    ["E1", `${spec}, priority: 5, attachpoint: { interface: eth0 }, bytecode: { imageurl: ${reference} }`],
    ["E2", `${spec}, ${at("interface: eth0, direction: NONE")}, bytecode: "image://${reference}"`],
    ["E3", `${spec}, ${at("interfaceselector: { interface: eth0 }")}, bytecode: "image://${reference}"`],
    [
      "E3 primary",
      `${spec}, ${at("interfaceselector: { primarynodeinterface: true }")}, bytecode: "image://${reference}"`,
    ],
    ["E4", `${spec}, ${at("interfaceselector: { interface: eth0 }")}, bytecode: { image: { url: ${reference} } }`],
    [
      "E4 Always",
      `${spec}, ${at("interface: eth0")}, bytecode: { image: { url: ${reference}, imagepullpolicy: Always } }`,
    ],
    [
      "E4 Never",
      `${spec}, ${at("interface: eth0")}, bytecode: { image: { url: ${reference}, imagepullpolicy: Never } }`,
    ],
  ];

  for (const [era, text] of eras)
    it(`load a program in the form of ${era}, under both names of the kind`, async () => {
      await node.apply(nodeObject("", "10.0.0.1"));
      for (const kind of ["BpfProgram", "EbpfProgram"] as const) {
        await node.apply(`apiVersion: bpfd.io/v1alpha1
kind: ${kind}Config
metadata: { name: of-era }
spec: { ${text} }
`);
        const loaded = await node.current("of-era", "Loaded", () => true, kind);
        const [program] = Object.values(loaded.spec.programs);
        assert.ok(hasXdp("eth0"));
        const trail = program?.maps["trail"] ?? "";
        assert.equal(node.ping(3), 3);
        using map = BpfMap.openPinned(trail, { readOnly: true });
        assert.ok((map.getRaw(Buffer.alloc(4))?.readBigUInt64LE() ?? 0n) >= 3n);
        const declared = JSON.parse(
          await node.node.do("get", `${kind.toLowerCase()}configs.bpfd.io`, "of-era", "-o", "json"),
        ) as { spec: { attachpoint: unknown } };
        assert.deepEqual(program?.attachpoint, declared.spec.attachpoint);
        await node.node.do("delete", `${kind.toLowerCase()}configs.bpfd.io`, "of-era");
        await node.until("it is gone", async () => (await node.program("of-era", kind)) === undefined);
        assert.equal(hasXdp("eth0"), false);
      }
    });

  it("with pull policy Never say that the node lacks the image", async () => {
    await node.apply(`apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: never }
spec: { ${spec}, ${at("interface: eth0")}, bytecode: { image: { url: quay.io/never/pulled:v1, imagepullpolicy: Never } } }
`);
    assert.match(causeOf(await node.current("never", "NotLoaded")), /quay\.io\/never\/pulled:v1.*Never/);
    await node.remove("never");
  });

  it("of the Go examples count packets, bytes and signals in their maps", async () => {
    await node.apply(nodeObject("", "10.0.0.1"));
    const names = ["go-xdp-counter-example", "go-tc-counter-example", "go-tracepoint-counter-example"] as const;
    for (const name of names) await node.apply(sample(name));
    const [xdp, tc, tracepoint] = (await node.loaded(...names)).map(pinsOf);
    assert.equal(node.ping(5), 5);
    for (const [pin, key] of [
      [xdp?.["xdp_stats_map"] ?? "", 2],
      [tc?.["tc_stats_map"] ?? "", 0],
    ] as const) {
      assert.ok(sumOf(pin, key) >= 5n, pin);
      assert.ok(sumOf(pin, key, 1) >= 5n * 84n, pin);
    }
    const calls = tracepoint?.["tracepoint_stats_map"] ?? "";
    const before = sumOf(calls, 0);
    await using inner = await InnerProcess.start({});
    await inner.run(() => {
      process.once("SIGUSR1", () => undefined);
      process.kill(process.pid, "SIGUSR1");
    }, undefined);
    assert.ok(sumOf(calls, 0) > before);
    assert.equal(existsSync("/sys/fs/bpf/xdp_stats_map"), false, "pinned only below our own bpffs");
    await node.remove(...names);
  });

  it("follow the node's primary interface", async () => {
    node.ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth1-far");
    for (const name of ["eth1", "eth1-far"]) node.ip("link", "set", name, "up");
    node.ip("address", "add", "10.1.0.1/24", "dev", "eth1");
    await node.apply(nodeObject("", "10.0.0.1"));
    await node.apply(sample("go-xdp-counter-example"));
    await node.loaded("go-xdp-counter-example");
    assert.deepEqual([hasXdp("eth0"), hasXdp("eth1")], [true, false]);
    await node.apply(nodeObject("", "10.1.0.1"));
    await node.until("it is on eth1", () => hasXdp("eth1") && !hasXdp("eth0"));
    await node.loaded("go-xdp-counter-example");
    // Without an address of the node's: where the default route leads.
    await node.node.do("delete", "node", nodeName);
    const waiting = await node.current("go-xdp-counter-example", "NotLoaded");
    assert.match(causeOf(waiting), /primary interface: .* none has a default route/);
    assert.deepEqual([hasXdp("eth0"), hasXdp("eth1")], [false, false]);
    node.ip("route", "add", "default", "via", "10.0.0.2", "dev", "eth0");
    await node.current("go-xdp-counter-example", "Loaded");
    assert.deepEqual([hasXdp("eth0"), hasXdp("eth1")], [true, false]);
    node.ip("route", "replace", "default", "dev", "eth1");
    await node.until("it follows the route", () => hasXdp("eth1") && !hasXdp("eth0"));
    await node.loaded("go-xdp-counter-example");
    await node.remove("go-xdp-counter-example");
    node.ip("link", "delete", "eth1");
  });
});
