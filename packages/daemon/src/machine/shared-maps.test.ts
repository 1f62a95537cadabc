import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { noEntries, type ObservedMap } from "@bpfleet/kernel";
import { ApiServer } from "../api/api-server.ts";
import { DaemonClient } from "../api/daemon-client.ts";
import type { Machine, MapRef } from "./machine.ts";
import { SharedMaps } from "./shared-maps.ts";

const definition = { type: "hash", keySize: 4, valueSize: 8, maxEntries: 8, flags: 0 } as const;
const pinned: ObservedMap = {
  key: "bytecode/a/maps/m",
  generation: "1",
  mapId: 7,
  definition,
  pinPaths: ["/fs/maps/u/m"],
};
const own: ObservedMap = { ...pinned, key: "filter/x/list", mapId: 8, pinPaths: [] };

const machine: Machine = {
  survey: () => assert.fail("surveyed"),
  writeMap: () => assert.fail("written"),
  readMap: async ({ map }) => ({
    id: map.by === "id" ? map.id : 0,
    name: "m",
    definition,
    isFrozen: false,
    memoryBytes: 1n,
    entries: noEntries,
    cpus: 0,
    isWhole: true,
  }),
};

test("SharedMaps lets clients without rights read maps that are pinned for users, and nothing else", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-shared-"));
  const socket = join(directory, "maps.sock");
  const shared = new SharedMaps(machine, { observe: async () => ({ maps: [pinned, own], programs: [], hooks: [] }) });
  const server = await ApiServer.listenFor({ mode: 0o660 }, socket, shared);
  const client = new DaemonClient(socket);
  t.after(async () => {
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });
  assert.equal(statSync(socket).mode & 0o777, 0o660);
  const named: readonly MapRef[] = [
    { by: "id", id: 7 },
    { by: "key", key: "bytecode/a/maps/m" },
    { by: "pin-path", path: "/fs/maps/u/m" },
  ];
  for (const map of named) assert.equal((await client.readMap({ map, max: 1 })).id, 7);
  const others: readonly MapRef[] = [
    { by: "id", id: 8 },
    { by: "key", key: "filter/x/list" },
    { by: "pin-path", path: "/sys/fs/bpf/foreign" },
  ];
  for (const map of others) await assert.rejects(client.readMap({ map, max: 1 }), { code: "not-found" });
  const nothing = { map: { by: "id", id: 7 }, puts: noEntries, deletes: noEntries, force: true } as const;
  await assert.rejects(client.writeMap(nothing), { code: "no-permission" });
  await assert.rejects(client.survey({ sampleMs: 0, withEntries: false }), { code: "no-permission" });
  await assert.rejects(client.pause(), { name: "KernelError" });
});
