import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CommandBench } from "../testing/run-command.ts";

const policy = (rules: string): string => `# Kept.
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFNetworkPolicy
metadata: {name: p, namespace: x}
spec:
  policyType: filtering
  ingress:
${rules}`;

test("migrate writes the new object, and says by its exit code whether it means the same", async () => {
  using bench = new CommandBench();
  const migrate = (rules: string, ...flags: readonly string[]) => {
    writeFileSync(join(bench.directory, "o.yaml"), policy(rules));
    return bench.run(["migrate", "-f", "o.yaml", ...flags]);
  };
  const same = await migrate(`    # Above.
    - ports:
        - port: 80 # "inside"
      description: "not # this"
    - action: deny
`);
  assert.equal(same.exitCode, 0, same.err);
  assert.equal(
    same.out,
    `# From EBPFNetworkPolicy x/p (o.yaml:2)
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: p
  namespace: x
spec:
  endpointSelector: {}
  ingress:
  # not # this
  # Above.
  # "inside"
  - toPorts:
    - ports:
      - port: "80"
        protocol: TCP
`,
  );
  assert.match(same.err, /^no packet is judged otherwise: compared for 2 sorts of pods that the policies tell apart$/m);

  const other = await migrate(
    `    - from: [{ipBlock: {cidr: 10.0.0.0/8}}]\n    - action: deny\n`,
    "--output-dir",
    "new",
  );
  assert.equal(other.exitCode, 1, other.err);
  assert.equal(other.out, "new/x-p.yaml\n");
  assert.match(readFileSync(join(bench.directory, "new/x-p.yaml"), "utf8"), /fromCIDR:\n {4}- 10\.0\.0\.0\/8/);
  assert.match(other.err, /^ingress of .* in 10\.0\.0\.0\/8: everything$/m);
  assert.match(other.err, /^ {2}old: passes by EBPFNetworkPolicy x\/p spec\.ingress\[0\] \(o\.yaml:8\): /m);
  assert.match(other.err, /^ {2}new: dropped: no rule allows it$/m);

  const refused = await migrate(`    - action: log\n`);
  assert.equal(refused.exitCode, 2);
  assert.match(refused.err, /^o\.yaml:8:\d+: error: spec\.ingress\[0\]\.action: log has no image/m);
  const lost = await migrate(`    - ports: [{port: 80}]\n    - ports: [{port: 80, endPort: 90}]\n      action: deny\n`);
  assert.deepEqual([lost.exitCode, lost.out], [2, ""]);
  assert.match(lost.err, /^o\.yaml:9:\d+: error: spec\.ingress\[1\]: is asked after spec\.ingress\[0\]/m);
  assert.equal((await migrate("    - {}\n", "-o", "xml")).exitCode, 2);

  const ofNodes = (rules: string): string => `${rules}  selector: {nodeSelector: {matchLabels: {role: edge}}}\n`;
  const kept = await migrate(ofNodes("    - ports: [{port: 22}]\n    - action: deny\n"));
  assert.equal(kept.exitCode, 0, kept.err);
  assert.match(kept.out, /^kind: CiliumClusterwideNetworkPolicy$/m);
  assert.match(kept.err, /^no packet is judged otherwise: compared for 2 sorts of pods and 2 sorts of nodes that/m);
  const narrowed = await migrate(ofNodes("    - from: [{ipBlock: {cidr: 10.0.0.0/8}}]\n    - action: deny\n"));
  assert.equal(narrowed.exitCode, 1, narrowed.err);
  assert.match(narrowed.err, /^ingress of nodes with role=edge, from .*other nodes.* in 10\.0\.0\.0\/8: /m);
  assert.match(narrowed.err, /^ {2}new: dropped: no rule allows it$/m);
  assert.equal((await migrate("    - {action: x}\n")).exitCode, 2);
});
