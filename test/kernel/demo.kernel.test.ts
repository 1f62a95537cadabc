import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..", "..");

test("make demo shows every packet meet the fate that was declared, and leaves nothing behind", () => {
  const { status, stdout, stderr } = spawnSync(join(root, "demo", "run.sh"), { encoding: "utf8", timeout: 180_000 });
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  for (const told of [
    /permitted +192\.168\.1\.10 .* dropped +0/,
    /blacklisted +192\.168\.1\.100 .* arrived +0 /,
    /source 10\.10\.10\.7 is in 10\.10\.10\.0\/24: EBPFProgram xdp-packet-filter \(xdp-packet-filter\.yaml:18\)/,
    /172\.16\.5\.0\/24 in map default\/blacklist-map: EBPFMap blacklist-map/,
    /filter_xdp ran \d+ times, \d+ ns each/,
    /nobody has said anything of these two[^]*web → db, TCP 5432 +answered[^]*web → db, TCP 80 +no answer/,
    /add to NetworkPolicy shop\/db-from-web spec\.ingress\[0\]\.ports, .*\n {4}\+ - port: 80/,
    /the daemon is killed[^]*web → db, TCP 5432 +answered[^]*web → db, TCP 80 +no answer/,
  ]) {
    assert.match(stdout, told);
  }
  for (const left of ["/run/netns/clients", "/run/netns/web", "/run/bpfleet-demo", "/sys/fs/bpf/blacklist"]) {
    assert.equal(existsSync(left), false, left);
  }
});
