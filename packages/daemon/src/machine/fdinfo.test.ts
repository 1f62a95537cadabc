import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCgroup, parseFdinfo, parsePod } from "./fdinfo.ts";

test("parseFdinfo reads the lines of a map's descriptor", () => {
  const fields = parseFdinfo("pos:\t0\nflags:\t02000002\nmap_type:\t1\nmemlock:\t4096\nmap_id:\t17\nfrozen:\t1\n");
  assert.deepEqual([fields.get("map_id"), fields.get("memlock"), fields.get("frozen")], ["17", "4096", "1"]);
});

test("parseCgroup prefers the one hierarchy of v2", () => {
  assert.equal(parseCgroup("12:memory:/a/b\n0::/system.slice/x.service\n"), "/system.slice/x.service");
  assert.equal(parseCgroup("12:memory:/a/b\n0::/\n"), "/a/b");
});

test("parsePod reads the names of the kubelet's cgroups, of both drivers", () => {
  const container = "ab".repeat(32);
  const uid = "1c5e0c4e-7a8b-4a9d-9d53-1f2e3d4c5b6a";
  assert.deepEqual(parsePod(`/kubepods/burstable/pod${uid}/${container}`), { podUid: uid, containerId: container });
  const slice = `kubepods-burstable-pod${uid.replaceAll("-", "_")}.slice`;
  assert.deepEqual(parsePod(`/kubepods.slice/kubepods-burstable.slice/${slice}/cri-containerd-${container}.scope`), {
    podUid: uid,
    containerId: container,
  });
  assert.deepEqual(parsePod("/system.slice/ssh.service"), {});
});
