import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { findKind } from "../../kinds.ts";
import { outcome } from "../../testing/outcomes.ts";
import { issueLines, readAll } from "../../testing/read-all.ts";
import { parseManifest } from "../../yaml/parse-manifest.ts";
import { felixFromValues } from "./values.ts";

function felix(spec: string, name = "default"): string {
  const base = `apiVersion: crd.projectcalico.org/v1\nkind: FelixConfiguration\nmetadata: {name: ${name}}\nspec:\n`;
  return `${base}${spec.replaceAll(/^/gm, "  ")}\n`;
}

function issues(spec: string): string[] {
  return issueLines(felix(spec)).map((line) => line.replace("spec.", ""));
}

test("FelixConfiguration finds all that is wrong at once, each with its line", () => {
  const spec = `bpfEnabled: maybe
bpfExternalServiceMode: Direct
bpfConnectTimeLoadBalancing: UDP
bpfMapSizeConntrack: 0
bpfDSROptoutCIDRs: [10.0.0.0/33]
bpfPSNATPorts: 30000:20000
bpfDataIfacePattern: "^(eth"
bpfConntrackTimeouts: {udpTimeout: soon, tcpFinsSeen: Auto}
xdpRefreshInterval: 90`;
  const told = issues(spec);
  assert.deepEqual(told.slice(0, 5), [
    '5: error bpfEnabled: must be true or false, is "maybe"',
    '6: error bpfExternalServiceMode: must be one of Tunnel, DSR, is "Direct"',
    '7: error bpfConnectTimeLoadBalancing: must be one of TCP, Enabled, Disabled, is "UDP"',
    "8: error bpfMapSizeConntrack: must be at least 1, is 0",
    '9: error bpfDSROptoutCIDRs[0]: must be an IPv4 or IPv6 address or a CIDR, is "10.0.0.0/33": the length after the slash must be 0 to 32',
  ]);
  assert.match(told[5] ?? "", /10: error bpfPSNATPorts: must be a range of ports that does not run backwards/);
  assert.match(told[6] ?? "", /11: error bpfDataIfacePattern: must be a regular expression, is "\^\(eth"/);
  assert.match(told[7] ?? "", /12: error bpfConntrackTimeouts\.udpTimeout: must be a duration, like 60s, or Auto/);
  assert.match(told[8] ?? "", /13: error xdpRefreshInterval: must be text, is 90/);
  assert.equal(told.length, 9);
});

test("FelixConfiguration keeps Calico's other settings, and asks after words that are nearly ours", () => {
  const spec = "ipv6Support: false\nchainInsertMode: Append\nfailsafeInboundHostPorts: [{port: 22, protocol: tcp}]";
  assert.deepEqual(issues(spec), []);
  assert.deepEqual(readAll(felix(spec)).parsed[0]?.object.spec, {
    ipv6Support: false,
    chainInsertMode: "Append",
    failsafeInboundHostPorts: [{ port: 22, protocol: "tcp" }],
  });
  assert.deepEqual(issues("bpfEnabeld: true\nbpfQuantumMode: On"), [
    "5: warning bpfEnabeld: unknown; did you mean bpfEnabled?",
    "6: warning bpfQuantumMode: unknown, so it has no effect",
  ]);
});

test("FelixConfiguration takes words as Calico does, in any spelling of capitals", () => {
  for (const word of ["DSR", "dsr", "Tunnel", "TUNNEL", '""'])
    assert.deepEqual(issues(`bpfExternalServiceMode: ${word}`), [], word);
});

test("FelixConfiguration warns of settings that undo each other", () => {
  assert.match(issues("bpfEnabled: true")[0] ?? "", /removed and made again without end/);
  assert.deepEqual(issues("bpfEnabled: true\nbpfKubeProxyIptablesCleanupEnabled: false"), []);
  assert.match(
    issues("bpfConnectTimeLoadBalancing: Disabled\nbpfHostNetworkedNATWithoutCTLB: Disabled")[0] ?? "",
    /the host itself reaches no Service/,
  );
  assert.match(issues("bpfConnectTimeLoadBalancingEnabled: true")[0] ?? "", /use bpfConnectTimeLoadBalancing/);
  assert.match(issues("bpfRedirectToPeer: L2Only")[0] ?? "", /use Enabled/);
  assert.match(issues("bpfDSROptoutCIDRs: [10.0.0.0/8]")[0] ?? "", /has no effect without bpfExternalServiceMode DSR/);
  assert.match(issueLines(felix("bpfEnabled: false", "main"))[0] ?? "", /nobody reads main/);
});

test("FelixConfiguration says of this node's settings only that they are not served yet", () => {
  const told = (spec: string, name?: string): string[] =>
    readAll(felix(spec, name))
      .lower()
      .problems.map(({ reason, origin, message }) => `${reason} ${origin.position?.line} ${message}`);
  const enabled =
    "NotServed 5 spec.bpfEnabled is not served yet; Services stay with kube-proxy, and no other setting has an effect";
  assert.deepEqual(told("bpfEnabled: true"), [enabled]);
  assert.deepEqual(told("bpfEnabled: true", "node.node-1"), [enabled]);
  assert.deepEqual(told("bpfEnabled: true", "node.node-2"), [
    "nodeNotSelected 3 node node-1 is not meant: it reads default and node.node-1",
  ]);
  assert.deepEqual(told("bpfEnabled: false\nbpfLogLevel: Debug"), []);
  assert.match(told("xdpEnabled: true")[0] ?? "", /^NotServed 5 spec\.xdpEnabled/);
});

test("plainStatus is Ready where nothing is asked, and else says what is not served", () => {
  const kind = findKind("crd.projectcalico.org/v1", "FelixConfiguration");
  const conditions = (spec: string): string[] => {
    const all = readAll(felix(spec));
    const [parsed] = all.parsed;
    assert.ok(parsed !== undefined && kind !== undefined);
    const status = kind.status(parsed, outcome({ problems: all.lower().problems }));
    const said = (status as { conditions: readonly Record<string, string>[] }).conditions;
    return said.map(({ type, status: is, reason }) => `${type}=${is} ${reason}`);
  };
  assert.deepEqual(conditions("ipv6Support: true"), [
    "Ready=True Ready",
    "Accepted=True Accepted",
    "Applied=True NothingAsked",
  ]);
  assert.deepEqual(conditions("bpfEnabled: true"), [
    "Ready=False NotServed",
    "Accepted=False NotServed",
    "Applied=False NotServed",
  ]);
});

test("felixFromValues finds the settings of the documents' values files", () => {
  const read = (file: string): unknown => {
    const text = readFileSync(`${import.meta.dirname}/../../testdata/documents/${file}`, "utf8");
    return felixFromValues(parseManifest(text, file).objects[0]?.value)?.spec;
  };
  assert.deepEqual(read("calico-ebpf-dataplane-01.yaml"), {
    bpfEnabled: true,
    bpfExternalServiceMode: "Tunnel",
    bpfConnectTimeLoadBalancing: "Disabled",
    bpfKubeProxyIptablesCleanupEnabled: false,
  });
  assert.deepEqual(read("calico-ebpf-dataplane-03.yaml"), {
    bpfMapSizeNATFrontend: 65536,
    bpfMapSizeNATBackend: 65536,
    bpfMapSizeConntrack: 512000,
  });
  assert.deepEqual(Object.keys(read("calico-ebpf-dataplane-04.yaml") as object), [
    "bpfEnabled",
    "bpfDataIfacePattern",
    "xdpEnabled",
  ]);
  assert.equal(felixFromValues({ replicas: 2 }), undefined);
  assert.equal(felixFromValues({ apiVersion: "v1", kind: "ConfigMap", bpfEnabled: true }), undefined);
  assert.equal(felixFromValues([]), undefined);
});
