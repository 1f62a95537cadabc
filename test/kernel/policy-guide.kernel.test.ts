import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import { StandaloneNode } from "./standalone-node.ts";

const manifest = join(import.meta.dirname, "../../examples/policy/shop.yaml");

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
  assert.match(denied.out, /isolated by NetworkPolicy shop\/db-from-web spec, .*:\d+/);
  assert.match(
    denied.out,
    /add to NetworkPolicy shop\/db-from-web spec\.ingress\[0\]\.ports, .*:\d+\n {2}\+ - port: 80\n {2}\+ {3}protocol: TCP/,
  );
  assert.match(denied.out, /nothing else that is known to this node would pass by it/);

  await node.do("delete", "networkpolicy", "db-from-web", "-n", "shop");
  assert.ok(answers(web));
});
