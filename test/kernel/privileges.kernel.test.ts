import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { test, type TestContext } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import { daemonCapabilities } from "@bpfleet/operator/desired";
import { plainUser } from "../../tools/images/names.ts";

const root = join(import.meta.dirname, "../..");
const ebpfctl = join(root, "apps/ebpfctl/src/main.ts");
type Capability = keyof typeof daemonCapabilities;
const given = Object.keys(daemonCapabilities) as Capability[];

/** One of every kind of place that the daemon puts programs and maps to. */
const objects = (folder: string, cgroup: string, netns: string): string => `
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: {name: front, namespace: default}
spec: {type: xdp, interface: eth0, settings: {blacklist: {enabled: true, ips: [192.0.2.1]}}}
---
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: {name: back, namespace: default}
spec: {type: tc-egress, interface: eth0, settings: {blacklist: {enabled: true, ips: [192.0.2.1]}}}
---
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: {name: accounting, namespace: default}
spec:
  type: cgroup
  settings: {containerPolicy: {enableAccounting: true, enableEgressControl: true, enableDeviceControl: true}}
---
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: {name: sockets, namespace: default}
spec: {type: sockops, settings: {socketOps: {enableMonitoring: true}}}
---
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFMap
metadata: {name: ports, namespace: default}
spec: {type: hash, maxEntries: 64, keySize: 2, valueSize: 8, initData: [{key: 443, value: 1}]}
---
apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: {name: classifier}
spec:
  name: classifier
  type: TC
  nodeselector: {}
  attachpoint: {networkmultiattach: {interface: eth0, priority: 50, direction: INGRESS}}
  bytecode: {path: ${folder}/owners.o}
---
apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: {name: hello}
spec:
  name: hello
  type: TRACEPOINT
  nodeselector: {}
  attachpoint: {singleattach: {name: sched/sched_switch}}
  bytecode: {path: ${folder}/owners.o}
---
apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: {name: connect}
spec:
  name: connect4
  type: CGROUP_SOCK_ADDR
  nodeselector: {}
  attachpoint: {cgroup: {namespace: default, podselector: {matchLabels: {app: web}}, hook: connect4}}
  bytecode: {path: ${folder}/cgroup-hooks.o}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: default
  labels: {app: web}
  annotations: {bpfleet.io/cgroup: ${cgroup}, bpfleet.io/netns: ${netns}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}
`;
const works = /10 objects \(10 in-force\)/;

type Up = (without: readonly Capability[], ...flags: readonly string[]) => string;

/** A node with a pod and these objects, on which `ebpfctl up --once` runs as the daemon does in a cluster: as its user, with its capabilities. */
async function withNode(t: TestContext, use: (up: Up) => void): Promise<void> {
  await using sandbox = new KernelSandbox();
  const cgroup = sandbox.cgroup();
  if (cgroup === undefined) return t.skip("no cgroup v2");
  const [node, pod] = [sandbox.netns().name, sandbox.netns().name];
  sandbox.ip(node, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1");
  sandbox.ip(node, "link", "add", "web0", "type", "veth", "peer", "name", "eth0", "netns", pod);
  sandbox.ip(pod, "address", "add", "10.0.0.2/24", "dev", "eth0");
  sandbox.ip(pod, "link", "set", "eth0", "up");
  for (const each of ["eth0", "eth1", "web0"]) sandbox.ip(node, "link", "set", each, "up");
  for (const name of ["owners", "cgroup-hooks"]) compile(name, join(sandbox.dir, `${name}.o`));
  const bpffs = await sandbox.bpffs();
  const own = ["objects", "state", "run"].map((name) => join(sandbox.dir, name));
  const [store = "", state = "", run = ""] = own;
  for (const folder of own) mkdirSync(folder);
  const env = {
    ...process.env,
    BPFLEET_STORE: store,
    BPFLEET_STATE: state,
    BPFLEET_SOCKET: join(run, "bpfleet.sock"),
    BPFLEET_BPFFS: bpffs,
  };
  const declared = objects(sandbox.dir, basename(cgroup), pod);
  execFileSync(process.execPath, [ebpfctl, "apply", "-f", "-"], {
    env,
    input: declared,
    stdio: ["pipe", "ignore", "pipe"],
  });
  // What the init container of the DaemonSet does.
  execFileSync("chown", ["-R", `${plainUser}:${plainUser}`, ...own]);
  chownSync(bpffs, plainUser, plainUser);
  chmodSync(sandbox.dir, 0o755);
  use((without, ...flags) => {
    const held = given.filter((each) => !without.includes(each));
    const set = ["-all", ...held.map((each) => `+${each.toLowerCase()}`)].join(",");
    const limits = ["--reuid", "--regid"].map((option) => `${option}=${plainUser}`);
    const sets = ["--inh-caps", "--ambient-caps", "--bounding-set"].map((option) => `${option}=${set}`);
    const inside = ["nsenter", `--net=/run/netns/${node}`, "setpriv", ...limits, "--clear-groups", ...sets];
    const words = [process.execPath, ebpfctl, "up", "--once", "--log=silent", ...flags];
    // As nodes have it; in a mount namespace that ends with the process.
    const script = `mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; exec "$@"`;
    const command = ["--mount", "--propagation", "private", "sh", "-ec", script, "sh", ...inside, ...words];
    const { stdout, stderr } = spawnSync("unshare", command, { env, encoding: "utf8" });
    return stdout + stderr;
  });
}

function compile(name: string, to: string): void {
  const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-target", "bpf", "-O2", "-g", "-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
  execFileSync("clang", [...flags, "-c", join(import.meta.dirname, `testdata/${name}.bpf.c`), "-o", to]);
}

test("the daemon brings everything into force with its capabilities and no others, as its user, and adopts what it finds", async (t) => {
  await withNode(t, (up) => {
    assert.match(up([]), works);
    assert.match(up([]), works);
  });
  await withNode(t, (up) => assert.match(up([], "--legacy-tc"), works));
});

test("the daemon without SYS_ADMIN finds nothing again after a restart", async (t) => {
  await withNode(t, (up) => {
    assert.match(up([]), works);
    const said = up(["SYS_ADMIN"]);
    assert.match(said, /10 objects \(10 pending\)/);
    assert.match(said, /error: read the pins: operation not permitted/);
  });
});

test("the daemon without NET_ADMIN finds no interface of a pod, and attaches no filter of tc where there is no TCX", async (t) => {
  await withNode(t, (up) => {
    const said = up(["NET_ADMIN"], "--legacy-tc");
    assert.match(said, /10 objects \(7 in-force, 1 waiting, 2 failed\)/);
    assert.match(said, /error: EBPFProgram default\/back: attach tc-egress\/eth0: operation not permitted/);
    assert.match(said, /error: BpfProgramConfig classifier: .*attach tc-ingress\/eth0: operation not permitted/);
    assert.doesNotMatch(said, /web0/);
  });
});

test("the daemon without DAC_READ_SEARCH attaches nothing to tracepoints, and says why", async (t) => {
  await withNode(t, (up) => {
    const said = up(["DAC_READ_SEARCH"]);
    assert.match(said, /10 objects \(9 in-force, 1 failed\)/);
    assert.match(said, /error: BpfProgramConfig hello: .*tracefs is closed to this user.*DAC_READ_SEARCH/);
  });
});

test("the daemon without BPF makes no map, unless SYS_ADMIN stands in for it", async (t) => {
  await withNode(t, (up) => {
    assert.match(up(["BPF", "SYS_ADMIN"]), /create map .*: operation not permitted/);
    assert.match(up(["BPF"]), works);
  });
});
