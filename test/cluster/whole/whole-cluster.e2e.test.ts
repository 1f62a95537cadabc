import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { groupsFor } from "./node.ts";
import { WholeCluster, wholeClusterAbsence } from "./whole-cluster.ts";

const skip = wholeClusterAbsence() ?? false;

const server = "mkdir /tmp/w; hostname >/tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w";

function pod(name: string, node: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [
        { name: "main", image: "localhost/busybox:1", imagePullPolicy: "Never", command: ["sh", "-c", server] },
      ],
    },
  });
}

test(
  "WholeCluster runs pods that reach each other across nodes, and a node that crashed comes back",
  { skip },
  async () => {
    await using cluster = await WholeCluster.start({ nodes: 2 });
    const { kubectl } = cluster;
    await Promise.all(["n1", "n2"].map((node) => kubectl(["apply", "--filename=-"], pod(`web-${node}`, node))));
    await kubectl(["wait", "--for=condition=Ready", "pod/web-n1", "pod/web-n2", "--timeout=120s"]);
    const address = await kubectl(["get", "pod", "web-n2", "--output=jsonpath={.status.podIP}"]);
    const ask = ["exec", "web-n1", "--", "wget", "-qO-", `http://${address}/`];
    assert.equal((await kubectl(ask)).trim(), "web-n2");

    const [, second] = cluster.nodes;
    await second?.crash();
    await kubectl(["wait", "--for=condition=Ready=Unknown", "node/n2", "--timeout=120s"]);
    await second?.start();
    const web = await cluster.until("address of the pod after the crash", async () => {
      const found = await kubectl(["get", "pod", "web-n2", "--output=jsonpath={.status.podIP}"]);
      return (await kubectl(["exec", "web-n1", "--", "wget", "-qO-", `http://${found}/`])).trim();
    });
    assert.equal(web, "web-n2");
  },
);

test("WholeCluster leaves nothing behind when its process is killed", { skip, timeout: 300_000 }, async () => {
  const library = new URL("whole-cluster.ts", import.meta.url).href;
  const script = `const { WholeCluster } = await import(${JSON.stringify(library)});
    const cluster = await WholeCluster.start();
    console.log(cluster.folder);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [folder] = (await once(createInterface(child.stdout), "line")) as [string];
  const groups = groupsFor(`bpfleet-whole-${child.pid}-n1`);
  assert.ok([folder, ...groups].every((path) => existsSync(path)));
  child.kill("SIGKILL");
  const end = performance.now() + 30_000;
  while ([folder, ...groups].some((path) => existsSync(path)) && performance.now() < end) await sleep(100);
  assert.deepEqual(
    [folder, ...groups].filter((path) => existsSync(path)),
    [],
  );
});

test("whyNoNode says at what a machine stops, and leaves nothing of its try", { skip }, () => {
  const library = new URL("probe.ts", import.meta.url).href;
  const script = `const { whyNoNode } = await import(${JSON.stringify(library)}); console.log(whyNoNode(), process.pid);`;
  const command = ["--bounding-set=-sys_admin", process.execPath, "--input-type=module", "--eval", script];
  const said = execFileSync("setpriv", command, { encoding: "utf8" });
  assert.match(said, /^this machine refuses a node in namespaces: unshare: .*Operation not permitted \d+\n$/);
  const [, pid] = / (\d+)\n$/.exec(said) ?? [];
  assert.ok(groupsFor(`bpfleet-probe-${pid}`).every((group) => !existsSync(group)));
});
