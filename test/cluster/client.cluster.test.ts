import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { clusterSource, findProgram, mapPath, watchProgram } from "@bpfleet/client";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";

const root = join(import.meta.dirname, "../..");
const skip = whyNoBuild();
const uuid = "bdeac6d3-4128-464e-9161-6010684eca27";
let server: ApiServer | undefined;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  server.kubectl(["apply", "--server-side", "-k", join(root, "manifests/base/ebpf")]);
  server.kubectl(["wait", "--for=condition=Established", "--timeout=30s", "crd/bpfprograms.bpfd.io"]);
});

after(() => server?.[Symbol.asyncDispose]());

function programYaml(maps: string): string {
  return [
    "apiVersion: bpfd.io/v1alpha1",
    "kind: BpfProgram",
    "metadata: { name: counter-worker, labels: { owningConfig: counter } }",
    `spec: { programs: { ${uuid}: { attachpoint: { interface: eth0 }, maps: ${maps} } } }`,
  ].join("\n");
}

test(
  "watchProgram follows a program of a real API server with a token that may view programs only",
  { skip },
  async () => {
    assert.ok(server !== undefined);
    const { url, kubeconfig, kubectl } = server;
    kubectl(["create", "serviceaccount", "app"]);
    const token = kubectl(["create", "token", "app"]).trim();
    const [, ca = ""] = /"certificate-authority-data":"([^"]+)"/.exec(readFileSync(kubeconfig, "utf8")) ?? [];
    const source = clusterSource({ server: url, token: () => token, ca: Buffer.from(ca, "base64").toString() });
    const options = { node: "worker", source };
    await assert.rejects(findProgram("counter", options), { status: 403, message: /bpfd-bpfprogram-viewer/ });

    kubectl(["create", "clusterrole", "view-programs", "--verb=get,list,watch", "--resource=bpfprograms.bpfd.io"]);
    kubectl(["create", "clusterrolebinding", "app", "--clusterrole=view-programs", "--serviceaccount=default:app"]);
    const watching = watchProgram("counter", { ...options, signal: AbortSignal.timeout(60_000) });
    const next = async () => (await watching.next()).value;
    assert.equal(await untilAllowed(next), undefined);
    const telling = next();
    kubectl(["apply", "-f", "-"], programYaml("{}"));
    assert.equal((await telling)?.isLoaded, false);
    const changed = next();
    kubectl(["apply", "-f", "-"], programYaml("{ stats: /run/bpfd/fs/maps/x/stats }"));
    const program = await changed;
    assert.ok(typeof program === "object");
    assert.equal(mapPath(program, "stats"), "/run/bpfd/fs/maps/x/stats");
    const gone = next();
    kubectl(["delete", "bpfprogram.bpfd.io", "counter-worker"]);
    assert.equal(await gone, undefined);
    await watching.return();
  },
);

/** The API server learns of a new binding a moment later. */
async function untilAllowed<T>(ask: () => Promise<T>): Promise<T> {
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return ask();
}
