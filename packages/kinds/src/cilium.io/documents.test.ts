import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { test } from "node:test";
import { issueLines, readAll } from "../testing/read-all.ts";

/** The policies of fos1-ebpf-crds.md as they stand there, and what one should know of each. */
const documents: Readonly<Record<string, readonly string[]>> = {
  "api-server-protection.yaml": [
    "24: warning spec.ingress[1].toCIDR: is not a field of Cilium's; where Cilium's CRD is installed, it is dropped",
    "32: warning spec.egress[0].toCIDR: stands beside toEndpoints: any of them is meant; Cilium refuses to combine them, so write a rule for each",
  ],
  "secure-core-services.yaml": [
    "10: warning spec.ingress: denies whatever else comes to the selected nodes themselves; only the fail-safe ports stay open, and no rule lets in SSH (22), the kubelet (10250)",
    "15: warning spec.egress: denies whatever else leaves the selected nodes themselves; only the fail-safe ports stay open",
    "16: warning spec.egress[0].toFQDNs: names are not learnt of what nodes send, so nothing passes by it",
    "18: warning spec.egress[1].toFQDNs: names are not learnt of what nodes send, so nothing passes by it",
  ],
  "hardware-accelerated-policy.yaml": [
    "18: warning spec.options: is not a field of Cilium's; where Cilium's CRD is installed, it is dropped",
  ],
  "global-hardware-acceleration.yaml": [
    "9: warning spec.ingress: denies whatever else comes to the selected nodes themselves; only the fail-safe ports stay open, and no rule lets in SSH (22), the API server (6443), the kubelet (10250)",
    "10: warning spec.ingress[0].fromEndpoints: is an empty list, so the whole rule allows nobody, as with Cilium; leave the field out to mean anybody",
    "11: warning spec.options: is not a field of Cilium's; where Cilium's CRD is installed, it is dropped",
  ],
  "smartnic-optimized-policy.yaml": [
    "9: warning spec.ingress: denies whatever else comes to the selected nodes themselves; only the fail-safe ports stay open, and no rule lets in SSH (22), the API server (6443), the kubelet (10250)",
    "10: warning spec.ingress[0].fromEndpoints: is an empty list, so the whole rule allows nobody, as with Cilium; leave the field out to mean anybody",
    "11: warning spec.options: is not a field of Cilium's; where Cilium's CRD is installed, it is dropped",
  ],
};

test("documents: their policies are read unmodified, with a warning for each trap in them", () => {
  const files = new Map(
    globSync("*/samples/*.yaml", { cwd: import.meta.dirname }).map((file) => [basename(file), file]),
  );
  for (const [name, warnings] of Object.entries(documents)) {
    const text = readFileSync(`${import.meta.dirname}/${files.get(name) ?? assert.fail(name)}`, "utf8");
    assert.deepEqual(issueLines(text), warnings, name);
    const { parsed, lower } = readAll(text);
    assert.equal(parsed.length, 1);
    const { intents, problems } = lower();
    const unserved = text.includes("nodeSelector") ? (text.match(/matchName|matchPattern/g)?.length ?? 0) : 0;
    const wishes = text.includes("options:") ? ["HardwareNotServed"] : [];
    assert.deepEqual(
      [intents.length, problems.map(({ reason }) => reason)],
      [1, [...wishes, ...Array.from({ length: unserved }, () => "NotServed")]],
      name,
    );
  }
});
