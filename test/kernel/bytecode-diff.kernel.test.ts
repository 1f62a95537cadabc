import assert from "node:assert/strict";
import { test } from "node:test";
import { syncAgent } from "@bpfleet/agent";
import { bytecodeAbsence, BytecodeNode } from "./bytecode-node.ts";

test(
  "ebpfctl diff of brought programs knows what runs, and says what it cannot tell",
  { skip: bytecodeAbsence ?? false },
  async () => {
    await using node = await BytecodeNode.make();
    await node.push("quay.io/bpfd-bytecode/owners:v1", node.image());
    await node.node.up();
    const config = (tag: string, priority: number): string => `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: guard }
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: eth0, priority: ${priority} } }
  bytecode: image://quay.io/bpfd-bytecode/owners:${tag}
`;
    const diff = (text: string) => node.node.run(["diff", "-f", "-"], text);
    await node.apply(config("v1", 50));
    await node.current("guard", "Loaded");
    await syncAgent(node.node.agentSocket);
    const same = await diff(config("v1", 50));
    assert.deepEqual([same.exitCode, same.out], [0, ""], same.err);
    const other = await diff(config("v9", 50));
    assert.match(other.err, /guard: what it would change cannot be told before the daemon has fetched quay\.io\S+:v9/);
    assert.deepEqual([other.exitCode, other.out], [0, ""]);
  },
);
