import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readXdpModes } from "./bpfd-config.ts";

test("readXdpModes takes the modes of interfaces from a bpfd.toml, and names what is wrong with it", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-toml-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "bpfd.toml");
  writeFileSync(path, '[tls]\nca_cert = "/a"\n[interfaces.eth0]\nxdp_mode = "skb"\n');
  const notices: string[] = [];
  assert.deepEqual(await readXdpModes(path, (notice) => notices.push(notice)), { eth0: "skb" });
  assert.equal(await readXdpModes(undefined, assert.fail), undefined);
  writeFileSync(path, "[interfaces");
  await assert.rejects(readXdpModes(path, assert.fail), /^Error: read .*bpfd\.toml: /);
  await assert.rejects(readXdpModes(join(folder, "none"), assert.fail), /ENOENT/);
});
