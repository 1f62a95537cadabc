import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bytecodeAbsence, BytecodeNode, causeOf } from "./bytecode-node.ts";

const config = `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: guarded }
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: eth0, priority: 5 } }
  bytecode: image://quay.io/bpfd-bytecode/guarded:latest
`;

test(
  "ebpfctl up refuses every image while the policy file that it was given is missing, and none without being given one",
  { skip: bytecodeAbsence ?? false },
  async () => {
    await using bytecode = await BytecodeNode.make();
    const { node } = bytecode;
    await bytecode.push("quay.io/bpfd-bytecode/guarded:latest", bytecode.image());
    const policy = join(bytecode.bench.directory, "named-policy.yaml");
    await node.up("", "--policy", policy);
    await node.apply(config);
    const refused = await bytecode.current("guarded", "NotLoaded");
    assert.match(causeOf(refused), /named-policy\.yaml/);
    assert.doesNotMatch(bytecode.ip("link", "show", "eth0"), /xdp/);
    // As soon as the file is there it decides.
    writeFileSync(policy, "apiVersion: bpfleet.io/v1alpha1\nkind: ImagePolicy\ndefault: { mode: off }\n");
    await bytecode.current("guarded", "Loaded");
    await node.stop();
    await node.up();
    await bytecode.current("guarded", "Loaded");
  },
);
