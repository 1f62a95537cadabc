import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { sources, target, TwoProcesses } from "./two-processes.ts";

const testdata = join(import.meta.dirname, "testdata");
const folder = mkdtempSync(join(tmpdir(), `bpfleet-without-ipv6-${process.pid}-`));
const run = promisify(execFile);
/** Runs what follows as where the kernel was started with ipv6.disable=1. */
const withoutIpv6 = join(folder, "without-ipv6");

before(() => {
  execFileSync("cc", ["-O2", "-Wall", "-o", withoutIpv6, join(testdata, "without-ipv6.c")]);
});

after(() => rmSync(folder, { recursive: true }));

test("an operator's probes and admission are served by IPv4 where the kernel has no IPv6", async () => {
  const { stdout } = await run(withoutIpv6, [process.execPath, join(testdata, "listen-everywhere.ts")]);
  assert.equal(stdout, "EAFNOSUPPORT\n");
});

test("bpfd starts, and its metrics are served by IPv4, where the kernel has no IPv6", async () => {
  await using node = await TwoProcesses.make({ ...sources, daemon: [withoutIpv6, ...sources.daemon] });
  node.env["BPFLEET_METRICS_ADDR"] = ":9091";
  const asked = `fetch("http://${target}:9091/metrics").then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))`;
  const ask = ["netns", "exec", node.near, process.execPath, "--eval", asked];
  await node.startDaemon(() =>
    run("ip", ask).then(
      () => true,
      () => false,
    ),
  );
});
