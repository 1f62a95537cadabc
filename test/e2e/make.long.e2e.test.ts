import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { after, before, test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { parseReference, RegistryClient } from "@bpfleet/oci";
import { credentialsFor, registryAbsence, RegistryBench, RegistryProcess, registryUser } from "@bpfleet/oci/testing";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster } from "../cluster/fleet-cluster.ts";
import { rollOutBoth, theSet } from "../cluster/play-controllers.ts";
import { readArchive } from "./read-archive.ts";
import { root } from "./fleet.ts";

const skip = whyNoBuild() ?? registryAbsence() ?? false;
const account = { ...theSet, group: "", plural: "serviceaccounts", name: "podconfigmap-controller" };
const theOperator = { ...theSet, plural: "deployments", name: "podconfigmap-controller" };
const ofOurs = ["-l", "app.kubernetes.io/part-of=bpfleet", "-o", "name"];
const closing = new AsyncDisposableStack();
let cluster: FleetCluster;
let bench: RegistryBench;

before(async () => {
  if (skip) return;
  cluster = closing.use(await startFleetCluster([], { isInstalled: false }));
  bench = closing.use(new RegistryBench());
  copyFileSync(cluster.server.kubeconfig, join(bench.directory, "kubeconfig"));
});

after(() => closing[Symbol.asyncDispose]());

interface Said {
  readonly out: string;
  readonly errors: string;
  readonly isDone: boolean;
}

/** A target as a user calls it, with a cluster in the kubeconfig and nothing of a make around us. */
function make(target: string, more: NodeJS.ProcessEnv = {}): Promise<Said> {
  const { MAKEFLAGS: _flags, MAKELEVEL: _level, MFLAGS: _old, MAKEOVERRIDES: _over, ...own } = process.env;
  const path = [more["PATH"], buildControlPlane(), own["PATH"]].filter(Boolean).join(delimiter);
  const env = { ...own, UNDEPLOY_PATIENCE: "2", KUBECONFIG: join(bench.directory, "kubeconfig"), ...more, PATH: path };
  return new Promise((resolve) => {
    execFile("make", [target], { cwd: root, env, timeout: 300_000, maxBuffer: 1 << 24 }, (error, out, errors) =>
      resolve({ out, errors, isDone: error === null }),
    );
  });
}

async function done(target: string, more: NodeJS.ProcessEnv = {}): Promise<string> {
  const { out, errors, isDone } = await make(target, more);
  assert.ok(isDone, `make ${target}: ${out}${errors}`);
  return out;
}

/** The same for what waits for operator and nodes, of which there is none; the operator runs on until it is disposed of. */
async function deployed(target: string, more: NodeJS.ProcessEnv): Promise<AsyncDisposable & { readonly out: string }> {
  let isOver = false;
  const ended = make(target, more).finally(() => (isOver = true));
  await until("its account is there", async () => (isOver ? true : await cluster.admin.find(account)), 240_000);
  await using started = new AsyncDisposableStack();
  if (!isOver) started.use(await cluster.startOperator());
  await until(
    "it is deployed",
    async () => {
      await rollOutBoth(cluster);
      return isOver ? true : undefined;
    },
    240_000,
  );
  const { out, errors, isDone } = await ended;
  assert.ok(isDone, `make ${target}: ${out}${errors}`);
  const kept = started.move();
  return { out, [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose]() };
}

function kubectl(...args: readonly string[]): string {
  return cluster.server.kubectl(args);
}

interface Template {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: { readonly containers: readonly { readonly name: string; readonly image: string }[] };
}

/** Of the pods of the DaemonSet, or of the operator. */
async function templateOf(place: typeof theSet | typeof theOperator): Promise<Template> {
  const found = await cluster.admin.find<AnyObject>(place);
  assert.ok(found !== undefined, place.name);
  return (found["spec"] as { readonly template: Template }).template;
}

async function imagesOf(place: typeof theSet | typeof theOperator): Promise<readonly string[]> {
  return (await templateOf(place)).spec.containers.map(({ image }) => image);
}

test("make install brings the CRDs and nothing else, and make uninstall takes them away", { skip }, async () => {
  assert.match(await done("install"), /ebpfprograms\.networking\.fos1\.io serverside-applied/);
  const crds = kubectl("get", "crd", ...ofOurs);
  for (const each of ["bpfprogramconfigs.bpfd.io", "ebpfmaps.networking.fos1.io", "nodestates.bpfleet.io"])
    assert.ok(crds.includes(each), crds);
  // What discovery says of new kinds comes a moment after they are served.
  const explain = async () => kubectl("explain", "ebpfprograms.spec");
  assert.match(await until("they are explained", () => explain().catch(() => undefined)), /interface/);
  assert.equal(kubectl("-n", "kube-system", "get", "deployments,daemonsets", "-o", "name"), "");
  await done("install");
  await done("uninstall");
  assert.equal(kubectl("get", "crd", ...ofOurs), "");
});

test(
  "make run-on-cluster builds the images, puts them into their registry and deploys them; make undeploy takes it back",
  { skip },
  async () => {
    await using registry = await RegistryProcess.start(bench.directory, bench.tls, "basic");
    bench.mirror("images.example.com", [`https://${registry.host}`]);
    const { username, password } = registryUser;
    const auth = Buffer.from(`${username}:${password}`).toString("base64");
    // As docker login writes it.
    writeFileSync(join(bench.directory, "config.json"), JSON.stringify({ auths: { [registry.host]: { auth } } }));
    const named = {
      BPFD_IMG: "images.example.com/fleet/bpfd:1",
      BPFD_AGENT_IMG: "images.example.com/fleet/bpfd-agent:1",
      BPFD_OPERATOR_IMG: "images.example.com/fleet/operator:1",
    };
    const env = { ...named, BPFLEET_REGISTRIES: bench.mirrors, DOCKER_CONFIG: bench.directory };
    {
      await using running = await deployed("run-on-cluster", env);
      for (const name of Object.values(named)) {
        const [, digest] = new RegExp(`^pushed ${name.replace(/:1$/, "")}@(sha256:.*)$`, "m").exec(running.out) ?? [];
        assert.equal(await pull(name, registry.host), digest, running.out);
      }
      assert.deepEqual(await imagesOf(theOperator), [named.BPFD_OPERATOR_IMG]);
      assert.deepEqual(await imagesOf(theSet), [named.BPFD_IMG, named.BPFD_AGENT_IMG, named.BPFD_IMG]);
      assert.match(await done("undeploy"), /nodes are clean/);
    }
    assert.equal(kubectl("-n", "kube-system", "get", "deployments,daemonsets", "-o", "name"), "");
    assert.match(kubectl("get", "crd", ...ofOurs), /bpfprogramconfigs\.bpfd\.io/);
    await done("uninstall");
    // What the operator installed for others stays.
    assert.doesNotMatch(kubectl("get", "crd", ...ofOurs), /\.(bpfd|bpfleet|fos1|example)\./);
  },
);

/** Everything that the image consists of; its digest. */
async function pull(name: string, host: string): Promise<string> {
  const reference = parseReference(name);
  await using client = await RegistryClient.open(reference, "pull", {
    auth: credentialsFor(host),
    mirrors: bench.mirrors,
  });
  const { digest, bytes } = await client.fetchManifest(reference.tag ?? "");
  const { config, layers } = JSON.parse(Buffer.from(bytes).toString());
  for (const blob of [config, ...layers]) await client.fetchBlob(blob, 1 << 28, "blob");
  return digest;
}

/** In kind's place: does to kubeconfig and files what kind does, and writes down what it was asked. */
const standIn = `#!/bin/sh
set -eu
echo "$*" >>"$KIND_STAND_IN/calls"
case "$1 $2" in
"get clusters") cat "$KIND_STAND_IN/clusters" ;;
"create cluster")
	echo "$4" >>"$KIND_STAND_IN/clusters"
	kubectl config rename-context test "kind-$4"
	kubectl config use-context "kind-$4"
	;;
"load image-archive") cp "$3" "$KIND_STAND_IN/loaded.tar" ;;
*) exit 1 ;;
esac
`;

test(
  "make run-on-kind makes a cluster, loads the images into it and deploys; make kind-reload-images brings later ones",
  { skip },
  async () => {
    const home = join(bench.directory, "kind");
    mkdirSync(home);
    writeFileSync(join(home, "kind"), standIn, { mode: 0o755 });
    for (const file of ["calls", "clusters"]) writeFileSync(join(home, file), "");
    const calls = () => readFileSync(join(home, "calls"), "utf8").trim().split("\n");
    const env = { PATH: home, KIND_STAND_IN: home, KIND_CLUSTER: "fleet" };
    const early = await make("kind-reload-images", env);
    assert.equal(early.isDone, false);
    assert.match(early.errors, /^error: find kind's cluster fleet: there is none; run: make run-on-kind$/m);
    writeFileSync(join(home, "calls"), "");

    await using _running = await deployed("run-on-kind", env);
    const load = "load image-archive build/images/bpfleet.tar --name fleet";
    assert.deepEqual(calls(), ["get clusters", "create cluster --name fleet", load]);
    const names = ["bpfd-agent", "bpfd", "podconfigmap-controller"].map((name) => `docker.io/library/${name}:latest`);
    assert.deepEqual([...readArchive(join(home, "loaded.tar")).keys()].toSorted(), names);
    assert.deepEqual(await imagesOf(theSet), ["bpfd:latest", "bpfd-agent:latest", "bpfd:latest"]);

    writeFileSync(join(home, "calls"), "");
    await done("kind-reload-images", env);
    assert.deepEqual(calls(), ["get clusters", load]);
    assert.equal(readArchive(join(home, "loaded.tar")).size, 3);
    // The operator has looked at its set once more, and lets the restart be.
    kubectl("-n", "kube-system", "label", "daemonset", "bpfd-daemon", "name=other", "--overwrite");
    await until("an edit is undone", async () => {
      const found = await cluster.admin.find<AnyObject>(theSet);
      return found?.metadata.labels?.["name"] === "bpfd-daemon" ? true : undefined;
    });
    for (const place of [theSet, theOperator])
      assert.ok("kubectl.kubernetes.io/restartedAt" in ((await templateOf(place)).metadata.annotations ?? {}));
  },
);
