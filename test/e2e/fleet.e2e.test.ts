import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { registryAbsence } from "@bpfleet/oci/testing";
import { daemonCapabilities } from "@bpfleet/operator/desired";
import { buildControlPlane } from "../../tools/build-control-plane.ts";
import { capabilityNumbers } from "../../tools/images/names.ts";
import { wholeClusterAbsence } from "../cluster/whole/whole-cluster.ts";
import { Fleet, root } from "./fleet.ts";
import { busySeconds } from "../cluster/busy-seconds.ts";
import { endLeader, killLeader, Pings } from "./kill-leader.ts";
import { ownProcesses, tryToWrite } from "./own-processes.ts";
import { ServedPlaces } from "./served-places.ts";
import { ServicePolicies } from "./service-policies.ts";

const skip = wholeClusterAbsence() ?? registryAbsence() ?? false;
const samples = join(root, "packages/kinds/src/networking.fos1.io/ebpfprogram/samples");
/** Of the document's blacklist: one by itself, one of a range; and one that is not in it. */
const [listed, inRange, free] = ["192.168.1.100", "10.10.10.5", "10.10.20.5"];

const web = JSON.stringify({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web" },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: "web", image: "localhost/busybox:1", imagePullPolicy: "Never", command: ["sleep", "100000"] }],
  },
});

const program = `
apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: {name: xdp-pass-all-nodes}
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: {networkmultiattach: {interface: eth0, priority: 50}}
  bytecode: {image: {url: quay.io/bpfd/bytecode:xdp_pass}}
`;

const networkConfig = "/etc/cni/net.d/10-pods.conflist";
const targetPort = 9998;
const shut = JSON.stringify({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "shut" },
  spec: { podSelector: { matchLabels: { app: "knocking" } }, policyTypes: ["Egress"] },
});
const knock = `while :; do echo knocks; nc -w 1 10.77.0.1 ${targetPort} </dev/null; sleep 0.1; done`;
const knocking = JSON.stringify({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "knocking", labels: { app: "knocking" } },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [
      { name: "knocking", image: "localhost/busybox:1", imagePullPolicy: "Never", command: ["sh", "-c", knock] },
    ],
  },
});

test("the product on a whole cluster", { skip, timeout: 1_200_000 }, async (t) => {
  await using fleet = await Fleet.start();
  let skipped: string | false = false;
  // Each step goes on from the one before.
  const step = async (name: string, body: () => Promise<void>): Promise<void> => {
    await t.test(name, { skip: skipped }, async () => {
      try {
        await body();
      } catch (error) {
        skipped = "a step before it failed";
        throw error;
      }
    });
  };
  const { cluster, node } = fleet;
  const services = new ServicePolicies(fleet);
  const { kubectl } = cluster;
  const networkBefore = await node.run(["cat", networkConfig]);
  for (const address of [listed, inRange, free]) await cluster.network.ip(`address add ${address}/32 dev switch0`);
  const isReady = (object: string) => kubectl(["wait", "--for=condition=Ready", object, "--timeout=120s"]);

  await step("kubectl apply -k manifests/base/ebpf makes it a cluster of ours", async () => {
    await fleet.install();
    await cluster.until("state of the node", () => kubectl(["get", "nodestate", node.name]));
    const pods = await kubectl(["-n", "kube-system", "get", "pods", "-l", "app=fos1-ebpf-controller", "-o", "json"]);
    const { items } = JSON.parse(pods) as { items: { spec: { containers: { name: string }[] } }[] };
    assert.deepEqual(
      items.map(({ spec }) => spec.containers.map(({ name }) => name)),
      [["bpfd", "bpfd-agent", "cni"]],
    );
    const sampled = await kubectl(["apply", "--dry-run=server", "-f", join(root, "config/samples/")]);
    assert.ok(sampled.trim().split("\n").length >= 9, sampled);
  });

  await step(
    "of what we run on the node only container cni is root, and only the daemon has capabilities",
    async () => {
      const { containers, processes } = await ownProcesses(fleet);
      assert.deepEqual(
        new Set(containers),
        new Set(["bpfd", "bpfd-agent", "cni", "controller"]),
        "what runs in kube-system",
      );
      const numbers = (Object.keys(daemonCapabilities) as (keyof typeof daemonCapabilities)[]).map(
        (name) => capabilityNumbers[name],
      );
      const ofDaemon = numbers.reduce((sum, number) => sum | (1n << BigInt(number)), 0n);
      for (const name of containers) {
        const own = processes.filter(({ container }) => container === name);
        assert.ok(own.length > 0, `${name} has no process`);
        const user = name === "cni" ? "0" : "65532";
        const held = name === "bpfd" ? ofDaemon : 0n;
        for (const { users, permitted, effective } of own)
          assert.deepEqual([users, permitted, effective], [[user, user, user, user], held, held], name);
      }
    },
  );

  await step("no container of ours can write to its own file system", async () => {
    const tried = await tryToWrite(fleet, ["/x", "/tmp/x", "/etc/x", "/usr/bin/x"]);
    assert.deepEqual(
      new Set(tried.map(({ container }) => container)),
      new Set(["bpfd", "bpfd-agent", "cni", "controller"]),
    );
    for (const { container, errors } of tried) assert.deepEqual(errors, Array(4).fill("EROFS"), container);
  });

  let podAddress = "";
  await step("the document's blacklist drops what comes to the node and to a pod on it, and nothing else", async () => {
    await fleet.apply(web);
    await isReady("pod/web");
    podAddress = await kubectl(["get", "pod", "web", "--output=jsonpath={.status.podIP}"]);
    const reach = async (from: string) => [await fleet.pings(from, node.address), await fleet.pings(from, podAddress)];
    assert.deepEqual(await reach(listed), [true, true]);
    await kubectl(["apply", "-f", join(samples, "xdp-packet-filter.yaml")]);
    await isReady("ebpfprogram/xdp-packet-filter");
    assert.deepEqual(await reach(listed), [false, false]);
    assert.deepEqual(await reach(inRange), [false, false]);
    assert.deepEqual(await reach(free), [true, true]);
    const described = await kubectl(["describe", "ebpfprogram", "xdp-packet-filter"]);
    assert.match(described, /Ready/);
    assert.match(await kubectl(["get", "ebpfprograms", "-o", "wide"]), /xdp-packet-filter/);
  });

  await step(
    "a BpfProgramConfig brings a program from a registry to the node, and what became of it is told",
    async () => {
      await fleet.pushBytecode(join(import.meta.dirname, "testdata/pass.bpf.c"), "xdp_pass");
      await fleet.apply(program);
      const loaded = await cluster.until("program of the node", async () => {
        const text = await kubectl(["get", "bpfprogram", `xdp-pass-all-nodes-${node.name}`, "-o", "json"]);
        const object = JSON.parse(text) as { status?: { conditions?: { type: string; reason: string }[] } };
        return object.status?.conditions?.find(({ reason }) => reason === "bpfdLoaded") ?? false;
      });
      assert.equal(loaded.type, "Loaded");
      assert.match(await fleet.exec("ebpfctl", "prog", "list", "--ours"), /pass/);
      assert.equal(await fleet.pings(listed, node.address), false);
      assert.equal(await fleet.pings(free, node.address), true);
    },
  );

  await step("programs get to every kind of place, and maps to where documents have them", async () => {
    const places = new ServedPlaces(fleet);
    await places.declare();
    await places.judge();
    await places.remove();
  });

  await step("the log and exec commands of the documents work", async () => {
    const logs = await kubectl(["logs", "-n", "kube-system", "-l", "app=fos1-ebpf-controller", "--tail=-1"]);
    assert.notEqual(logs.trim(), "");
    assert.notEqual((await kubectl(["logs", "-n", "kube-system", "deployment/podconfigmap-controller"])).trim(), "");
    // What the pod lists is what the node has there; by itself that may be nothing.
    await node.run(["mkdir", "/sys/fs/bpf/listed"]);
    assert.match(await fleet.exec("ls", "/sys/fs/bpf/"), /^listed$/m);
    await node.run(["rmdir", "/sys/fs/bpf/listed"]);
    assert.match(await fleet.exec("bpftool", "prog", "list"), /xdp/);
    assert.match(await fleet.exec("calico-node", "-bpf-maps"), /filter|reasons/);
    const inSet = ["exec", "-n", "kube-system", "daemonset/bpfd-daemon", "--", "ebpfctl", "version"];
    assert.match(await kubectl(inSet), /^Daemon Version: /m);
    assert.match(await fleet.exec("wget", "-O", "-", "localhost:9091/metrics"), /^# TYPE bpfleet_/m);
    const status = ["calico-kube-controllers", "status"];
    const asked = ["exec", "-n", "kube-system", "deployment/podconfigmap-controller", "--", ...status];
    assert.match(await kubectl(asked), /ok/);
  });

  await step("the webhook warns of a list that drops everything", async () => {
    const everything = (await readFile(join(samples, "xdp-packet-filter.yaml"), "utf8")).replace(
      "10.10.10.0/24",
      "0.0.0.0/0",
    );
    await assert.rejects(
      kubectl(["apply", "--dry-run=server", "--warnings-as-errors", "--filename=-"], everything),
      /Warning: EBPFProgram default\/xdp-packet-filter: spec\.settings\.blacklist\.ips\[1\]: 0\.0\.0\.0\/0 is every address/,
    );
  });

  await step("a pod whose policy denies it never reaches its target once, from its first process on", async () => {
    await cluster.until("the plug-in", async () => (await node.run(["cat", networkConfig])).includes("bpfleet-cni"));
    await using target = await fleet.startTarget(targetPort);
    await fleet.apply(shut);
    await fleet.apply(knocking);
    await isReady("pod/knocking");
    await sleep(3000);
    const log = await kubectl(["logs", "pod/knocking"]);
    assert.ok(log.split("\n").filter((line) => line === "knocks").length > 1, log);
    assert.equal(target.knocks(), 0);
    // Nothing but the policy kept it away.
    await kubectl(["delete", "networkpolicy", "shut"]);
    await cluster.until("a knock", async () => target.knocks() > 0);
    await kubectl(["delete", "pod/knocking", "--wait=false"]);
  });

  await step("rules about what pods send hold for the back ends of Services, beside kube-proxy", async () => {
    await services.declare();
    await services.judge();
  });

  await step("ebpfctl in the daemon's pod says who may talk to whom, and what would let a packet through", async () => {
    await services.look();
    await services.remove();
  });

  await step("without bpfd-config no pod waits for daemons that are gone, and what is in force stays so", async () => {
    const config = ["configmap", "bpfd-config"];
    const ofSystem = ["-n", "kube-system"];
    const text = await kubectl([...ofSystem, "get", ...config, "-o", "json"]);
    await fleet.apply(shut);
    await kubectl(["wait", "--for=delete", "pod/knocking", "--timeout=60s"]);
    await kubectl([...ofSystem, "delete", ...config]);
    await kubectl([...ofSystem, "wait", "--for=delete", "daemonset/bpfd-daemon", "--timeout=120s"]);
    assert.equal(await node.run(["cat", networkConfig]), networkBefore);
    await fleet.apply(knocking);
    await isReady("pod/knocking");
    assert.equal(await fleet.pings(listed, node.address), false);
    const { data, metadata } = JSON.parse(text) as {
      data: object;
      metadata: { labels?: object; annotations?: object };
    };
    const { labels, annotations } = metadata;
    const again = { name: "bpfd-config", namespace: "kube-system", labels, annotations };
    await fleet.apply(JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: again, data }));
    await fleet.ready();
    await cluster.until("the plug-in", async () => (await node.run(["cat", networkConfig])).includes("bpfleet-cni"));
    await kubectl(["delete", "networkpolicy/shut", "pod/knocking", "--wait=false"]);
  });

  await step("an operator whose process is killed comes back as itself and has its lease at once", async () => {
    await using dropped = new Pings(cluster, listed, node.address);
    await using passing = new Pings(cluster, free, node.address);
    const { startedSeconds, heldSeconds } = await killLeader(fleet);
    t.diagnostic(`the kubelet needed ${startedSeconds.toFixed(2)} s, the operator ${heldSeconds.toFixed(2)} s`);
    // The kubelet starts a container at once that ends for the first time.
    assert.ok(startedSeconds + heldSeconds < 10 + busySeconds(), `it took ${startedSeconds} s and ${heldSeconds} s`);
    assert.equal((await dropped.stop()).answered, 0);
    const { sent, answered } = await passing.stop();
    // The last may be on its way.
    assert.ok(sent > 20 && answered >= sent - 1, `${answered} of ${sent} were answered`);
  });

  await step("an operator whose pod ends gives its lease back: the other replica has it in under 3 s", async () => {
    await using passing = new Pings(cluster, free, node.address);
    const { heldSeconds } = await endLeader(fleet);
    t.diagnostic(`the other replica had the lease ${heldSeconds.toFixed(2)} s after the end of the leader`);
    assert.ok(heldSeconds < 3 + busySeconds(), `it took ${heldSeconds} s`);
    const { sent, answered } = await passing.stop();
    assert.ok(sent > 10 && answered >= sent - 1, `${answered} of ${sent} were answered`);
  });

  await step("an edit of the DaemonSet is undone", async () => {
    await kubectl(["-n", "kube-system", "set", "image", "daemonset/bpfd-daemon", "bpfd=example.com/other:1"]);
    await cluster.until("the image of before", async () => {
      const path = "jsonpath={.spec.template.spec.containers[0].image}";
      return (await kubectl(["-n", "kube-system", "get", "daemonset", "bpfd-daemon", "-o", path])) === "bpfd:latest";
    });
    await fleet.ready();
    assert.equal(await fleet.pings(listed, node.address), false);
  });

  await step(
    "settings reach the node: what nobody signed is detached, metrics are closed to other machines",
    async () => {
      const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const pem = publicKey.export({ type: "spki", format: "pem" });
      const policy = JSON.stringify({
        apiVersion: "bpfleet.io/v1alpha1",
        kind: "ImagePolicy",
        rules: [],
        default: { mode: "required", accept: { keys: [{ name: "release", pem }] } },
      });
      const patch = (imagePolicy: string | null, metricsAddress: string | null): Promise<string> => {
        const data = { "bpfleet.image-policy": imagePolicy, "bpfleet.metrics-address": metricsAddress };
        const text = JSON.stringify({ data });
        return kubectl(["-n", "kube-system", "patch", "configmap", "bpfd-config", "--type=merge", "-p", text]);
      };
      const isOpen = () =>
        cluster.network.run(["bash", "-c", `exec 3<>/dev/tcp/${node.address}/9091`]).then(
          () => true,
          () => false,
        );
      // The pod before may still be ending.
      await cluster.until("metrics", isOpen);
      const isRunning = async () => /\bpass\b/.test(await fleet.exec("ebpfctl", "prog", "list", "--ours"));
      await patch(policy, "127.0.0.1");
      await cluster.until("its end", async () => !(await isRunning()));
      // It ends with the pod of before; what the new one makes of it is told a moment later.
      await cluster.until("the reason", async () =>
        /signature|signed/.test(await kubectl(["get", "bpfprogramconfig", "xdp-pass-all-nodes", "-o", "yaml"])),
      );
      assert.equal(await fleet.pings(listed, node.address), false);
      assert.equal(await isOpen(), false);
      assert.match(await fleet.exec("wget", "-O", "-", "localhost:9091/metrics"), /^# TYPE bpfleet_/m);
      await patch(null, null);
      await cluster.until("its return", isRunning);
      await fleet.ready();
    },
  );

  await step("the metrics of the operator are there by kubectl port-forward", async () => {
    const words = ["-n", "kube-system", "port-forward", "svc/podconfigmap-controller", "8080:8080"];
    await using forwarding = cluster.start("port-forward", words);
    const ask = [
      process.execPath,
      "-e",
      'fetch("http://localhost:8080/metrics").then(async (a) => console.log(await a.text()))',
    ];
    const text = await forwarding.until("metrics", () => cluster.network.run(ask));
    assert.match(text, /^# TYPE bpfleet_operator_/m);
  });

  await step("a node that crashes comes back with everything in force", async () => {
    await node.crash();
    await node.start();
    await isReady("node/n1");
    await cluster.until(
      "the blacklist after the crash",
      async () => !(await fleet.pings(listed, node.address)),
      180_000,
    );
    assert.equal(await fleet.pings(free, node.address), true);
    await fleet.ready();
    await isReady("ebpfprogram/xdp-packet-filter");
    assert.equal(await fleet.pings(listed, node.address), false);
  });

  await step("make undeploy leaves nothing on the node", async () => {
    const env = {
      ...process.env,
      PATH: [buildControlPlane(), join(root, "node_modules/.bin"), process.env["PATH"]].join(delimiter),
      KUBECONFIG: cluster.kubeconfig,
    };
    const said = await cluster.network.run([join(root, "tools/deploy.sh"), "undeploy"], { env });
    assert.match(said, /the one node is clean/);
    assert.doesNotMatch(await node.run(["ip", "link", "show", "eth0"]), /xdp/);
    const pins = await node.run(["sh", "-c", "ls -A /run/bpfd/fs 2>/dev/null || true"]);
    assert.equal(pins.trim(), "");
    assert.equal(await node.run(["cat", networkConfig]), networkBefore);
    assert.doesNotMatch(await node.run(["ls", "/etc/cni/net.d", "/opt/cni/bin"]), /bpfleet/);
    assert.equal(await fleet.pings(listed, node.address), true);
    const told = ["-o", 'jsonpath={.status.state} {.status.conditions[?(@.type=="Ready")].reason}'];
    assert.equal(await kubectl(["get", "ebpfprogram", "xdp-packet-filter", ...told]), "Pending Undeployed");
    // The API server lets the last pods end before it forgets them.
    await cluster.until("an empty kube-system", async () => {
      const left = await kubectl(["-n", "kube-system", "get", "daemonset,deployment,pod", "-o", "name"]);
      return left.trim() === "";
    });
  });
});

test("make run-on-kind says what is missing where kind is not installed", () => {
  const path = process.env["PATH"] ?? "";
  const hasKind = path.split(delimiter).some((place) => {
    try {
      execFileSync(join(place, "kind"), ["version"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
  if (hasKind) return;
  for (const target of ["run-on-kind", "kind-reload-images"])
    assert.throws(
      () => execFileSync(join(root, "tools/deploy.sh"), [target], { encoding: "utf8", stdio: "pipe" }),
      /error: find kind: not installed; get it from https:/,
    );
});
