import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { registryAbsence } from "@bpfleet/oci/testing";
import { buildHelm } from "../../tools/build-whole-cluster.ts";
import { wholeClusterAbsence } from "../cluster/whole/whole-cluster.ts";
import { Fleet, root } from "./fleet.ts";

const skip = wholeClusterAbsence() ?? registryAbsence() ?? false;
const inSystem = ["-n", "kube-system"];

const pod = (name: string, node: string, command: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name } },
  spec: {
    nodeName: node,
    terminationGracePeriodSeconds: 0,
    containers: [
      { name: "main", image: "localhost/busybox:1", imagePullPolicy: "Never", command: ["sh", "-c", command] },
    ],
  },
});
const serve = "mkdir /tmp/w; echo here is web >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w";
const policy = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "web" },
  spec: {
    podSelector: { matchLabels: { app: "web" } },
    policyTypes: ["Ingress"],
    ingress: [{ from: [{ podSelector: { matchLabels: { app: "guest" } } }] }],
  },
};

test(
  "helm install, upgrade and uninstall on two nodes, with a policy about pods of the other one",
  { skip, timeout: 1_200_000 },
  async () => {
    await using fleet = await Fleet.start(2);
    const { cluster } = fleet;
    const { kubectl } = cluster;
    const env = { PATH: process.env["PATH"], HOME: cluster.folder, KUBECONFIG: cluster.kubeconfig };
    const helm = (...words: readonly string[]): Promise<string> =>
      cluster.network.run([buildHelm(), ...words, "--namespace=kube-system"], { env });
    const chart = ["bpfleet", join(root, "manifests/helm/bpfleet")];
    const words = async (...asked: readonly string[]): Promise<readonly string[]> =>
      (await kubectl(asked)).split(/\s+/).filter((word) => word !== "");

    assert.match(await helm("install", ...chart, "--set=logLevel=warn"), /STATUS: deployed/);
    await fleet.ready();
    const placed = await words(
      ...inSystem,
      "get",
      "pods",
      "-l",
      "name=bpfd-daemon",
      "-o",
      "jsonpath={.items[*].spec.nodeName}",
    );
    assert.deepEqual(placed.toSorted(), ["n1", "n2"]);
    await cluster.until("what both nodes say", () => kubectl(["get", "nodestate", "n1", "n2"]));

    const items = [pod("web", "n1", serve), pod("guest", "n2", "sleep 100000"), pod("stranger", "n2", "sleep 100000")];
    await fleet.apply(JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    await kubectl(["wait", "--for=condition=Ready", "pod/web", "pod/guest", "pod/stranger", "--timeout=120s"]);
    const address = await kubectl(["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]);
    const isServed = (from: string): Promise<boolean> => {
      const ask = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 ${address} 8080`;
      return kubectl(["exec", from, "--", "sh", "-c", ask]).then(
        (text) => text.includes("here is web"),
        () => false,
      );
    };
    await cluster.until("who is served without a policy", () => isServed("stranger"));
    await fleet.apply(JSON.stringify(policy));
    await cluster.until("the policy", async () => !(await isServed("stranger")));
    await cluster.until("whom it lets pass, of the other node", () => isServed("guest"));
    assert.equal(await isServed("stranger"), false);

    const level = [
      "get",
      "daemonset",
      "bpfd-daemon",
      "-o",
      'jsonpath={.spec.template.spec.containers[0].env[?(@.name=="LOG_LEVEL")].value}',
    ];
    assert.equal(await kubectl([...inSystem, ...level]), "warn");
    assert.match(await helm("upgrade", ...chart, "--set=logLevel=debug"), /REVISION: 2/);
    await cluster.until("the new level", async () => (await kubectl([...inSystem, ...level])) === "debug");
    await fleet.ready();
    assert.equal(await isServed("stranger"), false);
    assert.equal(await isServed("guest"), true);

    // As the guide says.
    const config = [...inSystem, "annotate", "configmap", "bpfd-config"];
    await kubectl([...config, "bpfleet.io/undeploy=true"]);
    const report = String.raw`jsonpath={.metadata.annotations.bpfleet\.io/undeployed}`;
    const said = await cluster.until("the end on the nodes", async () => {
      const text = await kubectl([...inSystem, "get", "configmap", "bpfd-config", "-o", report]);
      return text !== "" && text;
    });
    assert.match(said, /2 nodes are clean/);
    await helm("uninstall", "bpfleet");
    await cluster.until("an empty kube-system", async () => {
      const left = await kubectl([...inSystem, "get", "daemonset,deployment,pod", "-o", "name"]);
      return left.trim() === "";
    });
    assert.equal(await isServed("stranger"), true);
    const crds = await words("get", "crd", "-l", "app.kubernetes.io/part-of=bpfleet", "-o", "name");
    assert.ok(
      crds.some((name) => name.endsWith("/ebpfprograms.networking.fos1.io")),
      "helm keeps the CRDs",
    );
  },
);
