import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, describe, it } from "node:test";
import { bytecodeAbsence, BytecodeNode, pinsOf, readNumbers, type ProgramObject } from "./bytecode-node.ts";

const noteOf = (program: ProgramObject): string =>
  program.status?.conditions?.find(({ type }) => type === "Note")?.message ?? "";

describe(
  "programs on an interface whose packets are larger than a page",
  { skip: bytecodeAbsence ?? false },
  async () => {
    if (bytecodeAbsence !== undefined) return;
    const node = await BytecodeNode.make();
    after(() => node[Symbol.asyncDispose]());
    await node.push("quay.io/bpfd-bytecode/owners:frags", node.image(["-DFRAGS"]));
    await node.push("quay.io/bpfd-bytecode/owners:v1", node.image());
    await node.node.up();
    node.ip("link", "set", "eth0", "mtu", "9000");
    execFileSync("ip", ["-n", node.client, "link", "set", "eth0", "mtu", "9000"]);

    const config = (name: string, tag: string, id: number, more = ""): string => `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: ${name} }
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: eth0, priority: ${id} } }
  bytecode: image://quay.io/bpfd-bytecode/owners:${tag}
  globals: { id: ${id} }
${more}`;
    /** `xdp` is in the driver. */
    const mode = (): string | undefined => /mtu \d+ (xdp\w*)/.exec(node.ip("link", "show", "eth0"))?.[1];
    const shared = "  sharedmaps: { trail: a }\n";
    const argv = `netns exec ${node.client} ping -n -q -c 3 -i 0.05 -W 2 -s 8000 -M do 10.0.0.1`.split(" ");
    const largePing = (): number => Number(/(\d+) received/.exec(execFileSync("ip", argv).toString())?.[1]);

    it("run in the driver when their section is xdp.frags/…, alone and beside each other", async () => {
      await node.apply(config("a", "frags", 1));
      const a = pinsOf(await node.current("a", "Loaded"));
      assert.equal(mode(), "xdp");
      assert.equal(largePing(), 3);
      assert.ok((readNumbers(a["stats"] ?? "", 1)[0] ?? 0n) >= 3n);
      await node.apply(config("b", "frags", 2, shared));
      const b = await node.current("b", "Loaded");
      assert.equal(noteOf(b), "");
      assert.equal(mode(), "xdp");
      assert.equal(largePing(), 3);
      const [, first = 0n, second = 0n] = readNumbers(a["trail"] ?? "", 3);
      assert.ok(first > 0n && second === first + 1n, `${first} ${second}`);
    });

    it("stay in the driver beside a filter of another kind, which counts whole packets", async () => {
      await node.apply(`apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: { name: guard, namespace: default }
spec: { type: xdp, interface: eth0, settings: { blacklist: { enabled: true, ips: [10.0.0.9] } } }
`);
      interface Status {
        readonly state?: string;
        readonly mode?: string;
        readonly metrics?: { readonly bytesPassed?: number; readonly packetsPassed?: number };
      }
      const active = await node.node.status<Status>("guard", ({ state }) => state === "Active");
      assert.match(active.mode ?? "", /^native/);
      assert.equal(mode(), "xdp");
      assert.equal(largePing(), 3);
      const counted = await node.node.status<Status>("guard", ({ metrics }) => (metrics?.packetsPassed ?? 0) >= 3);
      assert.ok((counted.metrics?.bytesPassed ?? 0) >= 3 * 8042, JSON.stringify(counted.metrics));
      await node.node.do("delete", "ebpfprogram", "guard");
      assert.equal(mode(), "xdp");
    });

    it("run in the generic path as soon as one takes no fragments, and say which one", async () => {
      await node.apply(config("c", "v1", 3, shared));
      const c = await node.current("c", "Loaded");
      assert.equal(mode(), "xdpgeneric");
      for (const program of [c, await node.current("a", "Loaded")])
        assert.match(
          noteOf(program),
          /^xdp\/eth0 runs in the generic path \(skb\): .*which pass would take from a section xdp\.frags/,
        );
      assert.equal(largePing(), 3);
      const pin = pinsOf(await node.current("a", "Loaded"))["trail"] ?? "";
      const [, , second = 0n, third = 0n] = readNumbers(pin, 4);
      assert.ok(third === second + 1n, `${second} ${third}`);
      await node.remove("c", "b");
      assert.equal(largePing(), 3);
      await node.remove("a");
      assert.equal(mode(), undefined);
    });

    it("run in the generic path from the first when the only one takes no fragments", async () => {
      await node.apply(config("a", "v1", 1));
      const a = await node.current("a", "Loaded");
      assert.equal(mode(), "xdpgeneric");
      assert.match(noteOf(a), /the MTU is too large for XDP in the driver: .*which pass would take/);
      assert.equal(largePing(), 3);
      await node.remove("a");
    });
  },
);
