import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import type { AnyObject } from "@bpfleet/kube";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";
import { finalizeNamespace, noNodes, rollOut, rollOutBoth, theSet } from "./play-controllers.ts";

const skip = whyNoBuild() ?? false;
const root = join(import.meta.dirname, "../..");
let cluster: FleetCluster;

before(async () => {
  if (!skip) cluster = await startFleetCluster();
});

after(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

interface Said {
  readonly out: string;
  readonly errors: string;
  readonly isDone: boolean;
}

/** The script with the kubectl of the tests; it may fail. */
async function deploy(target: string, kubeconfig = cluster.server.kubeconfig): Promise<Said> {
  const env = {
    ...process.env,
    PATH: [buildControlPlane(), process.env["PATH"]].join(delimiter),
    KUBECONFIG: kubeconfig,
    UNDEPLOY_PATIENCE: "2",
    // Left over from something else; what takes away does not look at it.
    ...(target.startsWith("un") && { BPFD_IMG: "no image" }),
  };
  const ended = promisify(execFile)(join(root, "tools/deploy.sh"), [target], { env, timeout: 240_000 });
  return ended.then(
    ({ stdout, stderr }) => ({ out: stdout, errors: stderr, isDone: true }),
    ({ stdout, stderr }: { stdout: string; stderr: string }) => ({ out: stdout, errors: stderr, isDone: false }),
  );
}

function kubectl(...args: readonly string[]): string {
  return cluster.server.kubectl(args);
}

/** The manifests once more and an operator with the new account's token; the ConfigMap in another namespace or in none. */
async function deployed(home: "kube-system" | "bpfd" | "none"): Promise<RunningOperator> {
  kubectl("apply", "--server-side", "--force-conflicts", "-k", join(root, "manifests/base/ebpf"));
  if (home === "bpfd") kubectl("-n", "bpfd", "create", "configmap", "bpfd-config");
  await using started = new AsyncDisposableStack();
  const running = started.use(await cluster.startOperator());
  await until("there is a DaemonSet", () => cluster.admin.find<AnyObject>(theSet));
  if (home !== "kube-system") kubectl("-n", "kube-system", "delete", "configmap", "bpfd-config");
  if (home === "none")
    await until("it is gone", async () => {
      // Its pods take the plug-in out first, as its controller would tell.
      await rollOut(cluster, "daemonsets", "bpfd-daemon", noNodes);
      return (await cluster.admin.find(theSet)) === undefined ? true : undefined;
    });
  started.move();
  return running;
}

/** With one that nobody gave back, the next operator would wait until it has run out. */
function leases(): string {
  return kubectl(
    "-n",
    "kube-system",
    "get",
    "leases",
    "--field-selector=metadata.name=podconfigmap-controller-lock",
    "-o",
    "name",
  );
}

for (const home of ["bpfd", "none"] as const)
  test(
    `make undeploy cleans the nodes where the ConfigMap is in ${home === "none" ? "no namespace" : home}`,
    { skip },
    async () => {
      await using _running = await deployed(home);
      assert.notEqual(leases(), "");
      const { out, errors, isDone } = await deploy("undeploy");
      assert.ok(isDone, errors);
      assert.match(out, /cleaning the nodes\n.*nodes are clean/);
      assert.equal(await cluster.admin.find(theSet), undefined);
      const left = kubectl("get", "configmap", "-A", "--field-selector=metadata.name=bpfd-config", "-o", "name");
      assert.equal(left, "");
      assert.equal(leases(), "");
    },
  );

test(
  "make undeploy and uninstall take nothing away where a DaemonSet is left and the operator is not",
  { skip },
  async () => {
    await using _running = await deployed("kube-system");
    kubectl("-n", "kube-system", "delete", "deployment", "podconfigmap-controller");
    for (const target of ["undeploy", "uninstall"]) {
      const { out, errors, isDone } = await deploy(target);
      assert.ok(!isDone);
      assert.match(errors, /^error: \w+: DaemonSet bpfd-daemon is there without the operator, .*make deploy first/m);
      assert.ok(errors.startsWith(`error: ${target}: `) && out === "", out);
    }
    kubectl("-n", "kube-system", "get", "serviceaccount", "bpfd-daemon");
    kubectl("get", "crd", "bpfprogramconfigs.bpfd.io");
  },
);

/** Everything that the operator made, by kind and name. */
function made(): string {
  const own = ["-l", "app.kubernetes.io/managed-by=bpfleet-operator", "-o", "name"];
  const webhooks = kubectl("get", "validatingwebhookconfigurations", ...own);
  return `${kubectl("-n", "kube-system", "get", "secrets,services,configmaps,daemonsets", ...own)}${webhooks}`;
}

function createConfig(name: string, ...finalizers: readonly string[]): void {
  cluster.server.kubectl(
    ["create", "-f", "-"],
    JSON.stringify({
      apiVersion: "bpfd.io/v1alpha1",
      kind: "BpfProgramConfig",
      metadata: { name, finalizers },
      spec: {
        name: "pass",
        type: "XDP",
        nodeselector: {},
        attachpoint: { networkmultiattach: { interface: "eth0", priority: 0 } },
        bytecode: "image://quay.io/x/y:z",
      },
    }),
  );
}

test(
  "make deploy, then undeploy, leaves nothing where kubectl delete -k took only the operator",
  { skip },
  async () => {
    {
      await using _running = await deployed("kube-system");
      await until("there is everything", () => (made().includes("secret/bpfleet-ca") ? true : undefined));
      createConfig("held", "bpfd.io.operator/finalizer");
    }
    kubectl("delete", "-k", join(root, "manifests/base/ebpf"), "--wait=false");
    await until("the operator is gone", () =>
      kubectl("-n", "kube-system", "get", "deployments", "-o", "name") === "" ? true : undefined,
    );
    const left = made();
    for (const each of ["secret/bpfleet-ca", "service/bpfd-daemon", "daemonset.apps/bpfd-daemon"])
      assert.ok(left.includes(each), left);
    finalizeNamespace(cluster, "bpfd");
    let isOver = false;
    const deploying = deploy("deploy").finally(() => (isOver = true));
    const account = { ...theSet, group: "", plural: "serviceaccounts", name: "podconfigmap-controller" };
    await until("there is its account", async () => {
      if (isOver) assert.fail(JSON.stringify(await deploying));
      return cluster.admin.find(account);
    });
    await using _again = await cluster.startOperator();
    await until(
      "it is deployed",
      async () => {
        await rollOutBoth(cluster);
        return isOver ? true : undefined;
      },
      240_000,
    );
    const { out, errors, isDone } = await deploying;
    assert.ok(isDone, errors);
    assert.match(out, /^waiting for CRDs that are being deleted$/m);
    const undeployed = await deploy("undeploy");
    assert.ok(undeployed.isDone, undeployed.errors);
    assert.equal(made(), "");
  },
);

test("make uninstall takes away what is left of an operator that is gone with its DaemonSet", { skip }, async () => {
  {
    await using _running = await deployed("kube-system");
    await until("there is everything", () => (made().includes("secret/bpfleet-ca") ? true : undefined));
  }
  kubectl("-n", "kube-system", "delete", "deployment", "podconfigmap-controller");
  await cluster.admin.delete(theSet);
  createConfig("ours", "bpfd.io.operator/finalizer");
  createConfig("foreign", "example.com/keep");
  createConfig(
    "both",
    "example.com/keep",
    "bpfd.io.agent/finalizer",
    "example.com/keep-too",
    "bpfd.io.operator/finalizer",
  );
  // As `kubectl delete --cascade=foreground` leaves it where nobody collects garbage.
  createConfig("foreground", "bpfd.io.agent/finalizer");
  kubectl("delete", "bpfprogramconfigs.bpfd.io", "foreground", "--cascade=foreground", "--wait=false");
  const held = (name: string): readonly string[] =>
    JSON.parse(
      kubectl("get", "bpfprogramconfigs.bpfd.io", name, "-o", "jsonpath={.metadata.finalizers}") || "[]",
    ) as readonly string[];
  assert.ok(held("foreground").includes("foregroundDeletion"));
  const uninstalled = deploy("uninstall");
  await until("ours are gone", () =>
    !kubectl("get", "bpfprogramconfigs.bpfd.io", "-o", "yaml").includes("bpfd.io.operator/finalizer") &&
    !kubectl("get", "bpfprogramconfigs.bpfd.io", "-o", "yaml").includes("bpfd.io.agent/finalizer")
      ? true
      : undefined,
  );
  assert.deepEqual(held("both"), ["example.com/keep", "example.com/keep-too"]);
  assert.deepEqual(held("foreign"), ["example.com/keep"]);
  // The garbage collector's own, where there is one.
  for (const name of ["foreign", "both", "foreground"])
    if (held(name).length > 0)
      kubectl("patch", "bpfprogramconfigs.bpfd.io", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
  const { errors, isDone } = await uninstalled;
  assert.ok(isDone, errors);
  assert.equal(
    kubectl("get", "crd", "-l", "app.kubernetes.io/part-of=bpfleet", "-o", "name").includes("bpfd.io"),
    false,
  );
  assert.equal(made(), "");
  assert.equal(leases(), "");
});

test("make deploy, undeploy, install and uninstall say in one line that there is no cluster", { skip }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "bpfleet-deploy-"));
  try {
    const nowhere = join(dir, "kubeconfig");
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "gone",
      clusters: [{ name: "gone", cluster: { server: "https://127.0.0.1:1" } }],
      contexts: [{ name: "gone", context: { cluster: "gone", user: "nobody" } }],
      users: [{ name: "nobody", user: { token: "t" } }],
    };
    writeFileSync(nowhere, JSON.stringify(config));
    for (const target of ["deploy", "undeploy", "install", "uninstall"]) {
      const { out, errors, isDone } = await deploy(target, nowhere);
      assert.ok(!isDone, target);
      assert.match(errors, /^error: reach the cluster of kubectl's context gone: .*127\.0\.0\.1:1.*; choose one .*\n$/);
      assert.equal(out, "");
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
