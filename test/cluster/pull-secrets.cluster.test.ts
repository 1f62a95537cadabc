import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { registryAbsence, RegistryBench, registryUser, signedImage } from "@bpfleet/oci/testing";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { MirroredRegistry, type ProgramObject } from "../kernel/bytecode-node.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { ClusterNode, install } from "./cluster-node.ts";
import { until } from "./fleet-cluster.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root") ?? registryAbsence();
/** Agents look every few seconds whether the Secrets that an image waits for are others now. */
const patienceMs = 30_000;
const port = 5001;
const host = "registry.example";
/** Where the mirrors of the node have it. */
const place = `127.0.0.1:${port}`;

const closing = new AsyncDisposableStack();
let server: ApiServer;
let node: ClusterNode;

before(async () => {
  if (skip !== undefined) return;
  server = closing.use(await startApiServer(buildControlPlane()));
  install(server);
  const bench = closing.use(new RegistryBench());
  node = closing.use(await ClusterNode.make(server, { env: { BPFLEET_REGISTRIES: bench.mirrors } }));
  const registry = closing.use(await MirroredRegistry.start(bench, node.processes.far, host, "basic", port));
  // What a node has pulled for one it loads for others: each has an image of its own.
  for (const name of ["right", ...Object.keys(mistakes)])
    await registry.push(`${host}/private/${name}:v1`, signedImage(), []);
});

after(() => closing.disposeAsync());

/** Pulled with a Secret of the same name. */
function declare(name: string, image: string = name, imagepullpolicy: string = "IfNotPresent"): void {
  const config = {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgramConfig",
    metadata: { name },
    spec: {
      name: "pass",
      type: "XDP",
      nodeselector: {},
      attachpoint: { networkmultiattach: { interface: "eth0", priority: 50 } },
      bytecode: { image: { url: `${host}/private/${image}:v1`, imagepullsecret: name, imagepullpolicy } },
    },
  };
  server.kubectl(["apply", "-f", "-"], JSON.stringify(config));
}

/** As `kubectl create secret docker-registry` makes it. */
function keep(name: string, password: string, namespace = "bpfd"): void {
  const auth = Buffer.from(`${registryUser.username}:${password}`).toString("base64");
  keepText(name, JSON.stringify({ auths: { [place]: { auth } } }), namespace);
}

function keepText(name: string, text: string, namespace = "bpfd"): void {
  const type = "kubernetes.io/dockerconfigjson";
  const data = { ".dockerconfigjson": Buffer.from(text).toString("base64") };
  const secret = { apiVersion: "v1", kind: "Secret", type, metadata: { name, namespace }, data };
  server.kubectl(["apply", "-f", "-"], JSON.stringify(secret));
}

async function program(config: string): Promise<ProgramObject | undefined> {
  const { status, body } = await server.call("GET", `/apis/bpfd.io/v1alpha1/bpfprograms/${config}-n1`);
  return status === 200 ? (body as unknown as ProgramObject) : undefined;
}

/** Secrets that are wrong, each in its own way, and what is said of that. */
const mistakes = {
  guessed: /; the pull secret for 127\.0\.0\.1:5001 does not allow it; check its user, its password/,
  garbled: /^use Secret bpfd\/garbled: read pull secret: the entry of 127\.0\.0\.1:5001 has no auth, no username/,
  generic: /401 .*; Secret bpfd\/generic has no key \.dockerconfigjson; .*`kubectl create secret docker-registry`$/,
  "of-others": /401 UNAUTHORIZED .*; give a pull secret for 127\.0\.0\.1:5001$/,
  absent: /401 .*; Secret bpfd\/absent does not exist; the image is pulled without it, and again as soon as it does$/,
  elsewhere: /401 .*; Secret bpfd\/elsewhere does not exist; /,
} as const;

type Conditions = readonly { readonly type: string; readonly message: string }[];

/** What is ours in the conditions, beside bpfd's own words. */
function saidIn(conditions: Conditions = []): string {
  const ours = conditions.filter(({ type }) => type === "Cause" || type === "Note");
  return ours.map(({ message }) => message).join("; ");
}

async function isLoaded(config: string): Promise<boolean> {
  return (await program(config))?.status?.conditions?.at(-1)?.type === "Loaded";
}

test("bpfd-agent pulls with a Secret of namespace bpfd by its own rights, within ten seconds", { skip }, async () => {
  keep("right", registryUser.password);
  declare("right");
  const started = performance.now();
  await node.until("it is loaded", () => isLoaded("right"));
  assert.ok(performance.now() - started < 10_000);
});

test("bpfd-agent says what is wrong with a pull Secret, and goes on when it is made right", { skip }, async () => {
  keep("guessed", "guessed");
  keepText("garbled", JSON.stringify({ auths: { [place]: { auth: "?" } } }));
  keepText("of-others", JSON.stringify({ auths: { "quay.io": { username: "a", password: "b" } } }));
  const words = `--from-literal=password=${registryUser.password}`;
  server.kubectl(["-n", "bpfd", "create", "secret", "generic", "generic", words]);
  keep("elsewhere", registryUser.password, "default");
  const names = Object.keys(mistakes);
  for (const name of names) declare(name);
  for (const [name, mistake] of Object.entries(mistakes)) {
    const isSaid = (conditions?: Conditions): boolean => mistake.test(saidIn(conditions));
    await node.until(`${name}: its program says so`, async () => isSaid((await program(name))?.status?.conditions));
    await node.until(`${name}: the node says so`, async () =>
      isSaid((await node.result("BpfProgramConfig", name))?.conditions),
    );
    assert.equal(await isLoaded(name), false);
  }
  // The type of a Secret cannot be changed.
  server.kubectl(["-n", "bpfd", "delete", "secret", "generic"]);
  for (const name of names) keep(name, registryUser.password);
  for (const name of names) {
    await until(`${name} is loaded`, async () => (await isLoaded(name)) || undefined, patienceMs);
    await node.until(
      `${name}: nothing is said any more`,
      async () => saidIn((await program(name))?.status?.conditions) === "",
    );
  }
});

test("an image that is there serves whoever names it; with Always each Secret must do", { skip }, async () => {
  for (const name of ["present", "asked"]) keep(name, "guessed");
  declare("present", "right");
  declare("asked", "right", "Always");
  await node.until("it is loaded", () => isLoaded("present"));
  await node.until("it says so", async () =>
    mistakes.guessed.test(saidIn((await program("asked"))?.status?.conditions)),
  );
  assert.equal(await isLoaded("asked"), false);
});

test("bpfd-agent reads Secrets by their names only, and none of others", { skip }, async () => {
  const asAgent = ["--as=system:serviceaccount:kube-system:bpfd-daemon"];
  const can = (...words: readonly string[]): string => {
    try {
      return server.kubectl(["auth", "can-i", ...words, ...asAgent]).trim();
    } catch {
      return "no";
    }
  };
  assert.equal(can("get", "secrets/right", "-n", "bpfd"), "yes");
  assert.equal(can("list", "secrets", "-n", "bpfd"), "no");
  assert.equal(can("watch", "secrets", "-n", "bpfd"), "no");
  assert.equal(can("get", "secrets/regcred", "-n", "kube-system"), "yes");
  assert.equal(can("get", "secrets/bpfleet-ca", "-n", "kube-system"), "no");
  assert.equal(can("get", "secrets/elsewhere", "-n", "default"), "no");
});
