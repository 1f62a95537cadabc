import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import { StandaloneNode } from "./standalone-node.ts";

const manifest = join(import.meta.dirname, "../../examples/policy/shop.yaml");

const denial = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: no-5432, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: db } }
  ingressDeny:
    - toPorts:
        - ports: [{ port: "5432", protocol: TCP }, { port: "81", protocol: TCP }]
`;

test("the guide of policies: two namespaces, a NetworkPolicy, and what would become of a packet", async (context) => {
  await using node = await StandaloneNode.make();
  if (node === undefined) return context.skip("there is no cgroup v2");
  await using sandbox = new KernelSandbox();
  const addresses = { web: "10.1.0", db: "10.2.0" };
  const names = new Map<string, string>();
  for (const [pod, prefix] of Object.entries(addresses)) {
    const { name } = sandbox.netns();
    names.set(pod, name);
    sandbox.ip(node.netns, "link", "add", pod, "type", "veth", "peer", "name", "eth0", "netns", name);
    sandbox.ip(node.netns, "address", "add", `${prefix}.1/24`, "dev", pod);
    sandbox.ip(node.netns, "link", "set", pod, "up");
    sandbox.ip(name, "address", "add", `${prefix}.2/24`, "dev", "eth0");
    sandbox.ip(name, "link", "set", "eth0", "up");
    sandbox.ip(name, "route", "add", "default", "via", `${prefix}.1`);
  }
  execFileSync("ip", ["netns", "exec", node.netns, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  const answers = (from: string): boolean =>
    spawnSync("ip", ["netns", "exec", from, "ping", "-c", "1", "-W", "1", "10.2.0.2"]).status === 0;
  const web = names.get("web") ?? "";
  await node.up();
  assert.ok(answers(web));

  const yaml = readFileSync(manifest, "utf8").replace(
    /(bpfleet\.io\/netns: )(\w+)/g,
    (_, key: string, pod: string) => `${key}${names.get(pod)}`,
  );
  await node.apply(yaml);
  assert.match(await node.do("get", "networkpolicy", "db-from-web", "-n", "shop", "-o", "yaml"), /message: in force/);
  assert.ok(!answers(web), "ICMP is not allowed");
  assert.ok(answers(node.netns), "the node reaches its pods");
  await node.stop();
  await node.up("", "--host-access", "never");
  await node.tried();
  assert.ok(!answers(node.netns), "unless it is not to");
  await node.stop();
  await node.up();
  await node.tried();
  assert.ok(answers(node.netns), "and reaches them again");

  const explain = (port: string) =>
    node.run(
      ["explain", "-i", "db", "--direction", "egress", "--from", "10.1.0.2", "--to", "10.2.0.2"].concat([
        "--proto",
        "tcp",
        "--dport",
        port,
      ]),
    );
  const allowed = await explain("5432");
  assert.equal(allowed.exitCode, 0, allowed.out + allowed.err);
  assert.match(allowed.out, /NetworkPolicy shop\/db-from-web spec\.ingress\[0\]/);
  const denied = await explain("80");
  assert.equal(denied.exitCode, 3, denied.out + denied.err);
  assert.match(
    denied.out,
    /dropped .*: no rule allows it, and NetworkPolicy shop\/db-from-web lets pod shop\/db receive/,
  );
  assert.match(denied.out, /isolated by NetworkPolicy shop\/db-from-web spec, .*:23$/m);
  assert.match(
    denied.out,
    /add to NetworkPolicy shop\/db-from-web spec\.ingress\[0\]\.ports, .*:31\n {2}\+ - port: 80\n {2}\+ {3}protocol: TCP/,
  );
  for (const document of ["README.md", "docs/guides/policy.md"])
    assert.match(
      readFileSync(join(import.meta.dirname, "../..", document), "utf8"),
      /add to NetworkPolicy shop\/db-from-web spec\.ingress\[0\]\.ports, \S*shop\.yaml:31$/m,
    );
  assert.match(denied.out, /nothing else that is known to this node would pass by it/);

  await node.apply(denial);
  const refused = await explain("5432");
  assert.equal(refused.exitCode, 3, refused.out + refused.err);
  assert.match(
    refused.out,
    /take out of CiliumNetworkPolicy shop\/no-5432 spec\.ingressDeny\[0\]\.toPorts\[0\]\.ports, .*:8\n {2}- - port: "5432"\n {2}- {3}protocol: TCP\nnothing else/,
  );
  await node.apply(denial.replace('{ port: "5432", protocol: TCP }, ', ""));
  assert.equal((await explain("5432")).exitCode, 0, "by that edit");
  await node.do("delete", "ciliumnetworkpolicy", "no-5432", "-n", "shop");

  const dump = await node.do("policy", "dump", "db");
  assert.match(dump, /^shop\/db +db \(\d+\) +table \d+ +any$/m);
  assert.match(dump, /^1 +allow +.*TCP 5432.* +0 +0 +NetworkPolicy shop\/db-from-web spec\.ingress\[0\], .*:\d+$/m);
  assert.match(dump, /^\d+ +10\.1\.0\.2 +pod shop\/web$/m);
  const unused = await node.run(["policy", "unused"]);
  assert.match(
    unused.out,
    /^NetworkPolicy shop\/db-from-web +.*TCP 5432.* +\w+ +never +NetworkPolicy shop\/db-from-web spec\.ingress\[0\], .*:\d+$/m,
  );
  assert.equal(unused.err, "1 of 1 rules decided on no packet\n");
  const young = await node.run(["policy", "unused", "--since", "7d"]);
  assert.match(young.out + young.err, /^0 of 1 rules .*\n1 more did not either, and are not counted for 7d yet\n$/);

  const nc = spawn("ip", ["netns", "exec", names.get("db") ?? "", "nc", "-l", "-p", "5432", "-k"]);
  const client = spawn("ip", [
    "netns",
    "exec",
    web,
    "sh",
    "-c",
    "sleep 0.5; (echo hello; sleep 20) | nc 10.2.0.2 5432",
  ]);
  const tracked = async (): Promise<string> => (await node.run(["conntrack", "dump", "-n", "shop", "-o", "wide"])).out;
  try {
    for (let tries = 0; tries < 50 && !/ open /.test(await tracked()); tries++) await sleep(200);
    assert.match(
      await tracked(),
      /^shop\/db +ingress +tcp +10\.1\.0\.2:\d+ \(pod shop\/web\) +10\.2\.0\.2:5432 \(pod shop\/db\) +open +\d+s +NetworkPolicy shop\/db-from-web spec\.ingress\[0\], /m,
    );
    const [flow] = JSON.parse(await node.do("conntrack", "dump", "--port", "5432", "-o", "json")) as {
      readonly from: { readonly name: string };
    }[];
    assert.equal(flow?.from.name, "pod shop/web");
    assert.equal((await node.run(["policy", "unused"])).err, "0 of 1 rules decided on no packet\n");
    assert.match(await node.do("policy", "dump", "db"), /TCP 5432.* +[1-9]\d* +[1-9]\d* +\d+s +NetworkPolicy shop/);
    assert.equal((await node.run(["conntrack", "dump", "--port", "80"])).err, "No connections found\n");
  } finally {
    client.kill();
    nc.kill();
  }

  await node.do("delete", "networkpolicy", "db-from-web", "-n", "shop");
  assert.ok(answers(web));

  await node.apply(yaml.replace("  name: db-from-web\n", "$&  annotations: { bpfleet.io/mode: shadow }\n"));
  assert.ok(answers(web), "what is tried out drops nothing");
  const shadow = await node.run(["policy", "shadow"]);
  assert.match(
    shadow.out,
    /^shop\/db +ingress +drop +pod shop\/web \(10\.1\.0\.2\) +icmp type 8 +1 +\d+s +NetworkPolicy shop\/db-from-web$/m,
  );
  assert.match(shadow.err, /1 that pass would be dropped, 0 that are dropped would pass/);
  await node.apply(yaml);
  assert.ok(!answers(web));

  const told = node.run(["trace", "networkpolicy", "db-from-web", "-n", "shop", "--drops", "--count", "1"]);
  const isTold = told.then(() => true);
  for (let tries = 0; tries < 20; tries++) {
    assert.ok(!answers(web));
    if (await Promise.race([isTold, sleep(100, false)])) break;
  }
  assert.match(
    (await told).out,
    /drop db 10\.1\.0\.2 \(pod shop\/web\) > 10\.2\.0\.2 \(pod shop\/db\) icmp, .* NetworkPolicy shop\/db-from-web lets pod shop\/db receive only what a rule allows/,
  );
  assert.match(
    (await told).out,
    /isolated by NetworkPolicy shop\/db-from-web spec, .*:23\n {4}the smallest edit that lets it through: add to NetworkPolicy shop\/db-from-web spec\.ingress, .*:27\n {6}\+ - from:/,
  );

  const flows = node.run(["trace", "networkpolicy", "db-from-web", "-n", "shop", "--flows", "--count", "1"]);
  const isFlowTold = flows.then(() => true);
  for (let tries = 0; tries < 100; tries++) {
    // Nobody listens there any more; the question passes all the same.
    spawnSync("ip", ["netns", "exec", web, "nc", "-w", "1", "10.2.0.2", "5432"]);
    if (await Promise.race([isFlowTold, sleep(100, false)])) break;
  }
  assert.match(
    (await flows).out,
    /^\S+ pass db 10\.1\.0\.2:\d+ \(pod shop\/web\) > 10\.2\.0\.2:5432 \(pod shop\/db\) tcp, .* \(NetworkPolicy shop\/db-from-web spec\.ingress\[0\], .*:\d+\)/,
  );
  const both = await node.run(["trace", "--flows", "--drops"]);
  assert.deepEqual(
    [both.exitCode, both.err],
    [1, "error: trace shows drops, or connections and drops: give --drops or --flows\n"],
  );
});
