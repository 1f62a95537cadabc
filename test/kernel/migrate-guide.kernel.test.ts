import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import { StandaloneNode, type CommandResult } from "./standalone-node.ts";

const root = join(import.meta.dirname, "../..");
const guide = readFileSync(join(root, "docs/guides/migrate.md"), "utf8");

/** The commands of all blocks, in their order. */
const commands = [...guide.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(([, block = ""]) => block.trimEnd().split("\n"));

interface Look extends CommandResult {
  /** Which ports of the database answer to web. */
  readonly open: () => readonly number[];
  /** Whether the database reaches web. */
  readonly asks: () => boolean;
}

/** What is seen after each command, by a part of it. */
const expected: readonly (readonly [command: string, check: (look: Look) => void])[] = [
  [
    "apply --wait -f examples/migrate/pods.yaml",
    ({ open, asks }) => assert.deepEqual([open(), asks()], [[80, 5432], true]),
  ],
  ["apply --wait -f examples/migrate/db.yaml", ({ open, asks }) => assert.deepEqual([open(), asks()], [[5432], false])],
  ["get ebpfnetworkpolicies", ({ out }) => assert.match(out, /^shop +db +filtering/m)],
  [
    "migrate -f examples/migrate/db.yaml",
    ({ out, err, exitCode }) => {
      assert.equal(exitCode, 0, err);
      assert.equal(out, "new/shop-db.yaml\n");
      assert.match(err, /^no packet is judged otherwise: compared for /m);
    },
  ],
  [
    "migrate -f config/samples",
    ({ out, err, exitCode }) => {
      assert.equal(exitCode, 1, err);
      assert.match(out, /kind: CiliumNetworkPolicy/);
      assert.match(err, /10\.0\.0\.0\/8: TCP 5432\n {2}old: passes by .*\n {2}new: dropped: no rule allows it\n/);
    },
  ],
  ["apply --wait -f new", ({ open, asks }) => assert.deepEqual([open(), asks()], [[5432], false])],
  [
    "--dport 5432",
    ({ out, exitCode }) => {
      assert.equal(exitCode, 0, out);
      assert.match(out, /CiliumNetworkPolicy shop\/db spec\.ingress\[0\]/);
    },
  ],
  ["--dport 80", ({ exitCode }) => assert.equal(exitCode, 3)],
  ["delete -f examples/migrate/db.yaml", ({ open, asks }) => assert.deepEqual([open(), asks()], [[5432], false])],
  ["get ciliumnetworkpolicies", ({ out }) => assert.match(out, /^shop +db /m)],
];

test("the guide of migration: the old policy, the new one beside it, and the new one alone", async (context) => {
  await using node = await StandaloneNode.make();
  if (node === undefined) return context.skip("there is no cgroup v2");
  await using sandbox = new KernelSandbox();
  const names = new Map<string, string>();
  for (const [pod, prefix] of [
    ["web", "10.1.0"],
    ["db", "10.2.0"],
  ] as const) {
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
  for (const folder of ["examples", "config"])
    cpSync(join(root, folder), join(sandbox.dir, folder), { recursive: true });
  const pods = join(sandbox.dir, "examples/migrate/pods.yaml");
  writeFileSync(
    pods,
    readFileSync(pods, "utf8").replace(
      /(bpfleet\.io\/netns: )(\w+)/g,
      (_, key: string, pod: string) => `${key}${names.get(pod)}`,
    ),
  );
  /** A closed port that is reached refuses at once; one that is not never answers. */
  const reaches = (from: string, to: string, port: number): boolean => {
    const { stderr } = spawnSync("ip", [
      "netns",
      "exec",
      names.get(from) ?? "",
      "timeout",
      "4",
      "bash",
      "-c",
      `</dev/tcp/${to}/${port}`,
    ]);
    return /refused/.test(String(stderr));
  };
  await node.up();
  assert.equal(commands.length, expected.length, commands.join("\n"));
  for (const [at, command] of commands.entries()) {
    const [part, check] = expected[at] ?? assert.fail();
    assert.ok(command.startsWith("ebpfctl ") && command.includes(part), `${command}: ${part}`);
    const result = await node.runIn(sandbox.dir, command.split(" ").slice(1));
    if (!/migrate|explain/.test(command)) assert.equal(result.exitCode, 0, command + result.out + result.err);
    const open = () => [80, 5432].filter((port) => reaches("web", "10.2.0.2", port));
    check({ ...result, open, asks: () => reaches("db", "10.1.0.2", 80) });
  }
  assert.deepEqual(readdirSync(join(sandbox.dir, "new")), ["shop-db.yaml"]);
  const written = readFileSync(join(sandbox.dir, "new/shop-db.yaml"), "utf8");
  assert.match(written, /# Web asks\n {2}# Asked for by the shop team\.\n {2}# the pooler\n {2}- fromEndpoints:/);
});
