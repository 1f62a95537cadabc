import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { MapReadingSchema, SurveySchema, WriteMapRequestSchema, ReadMapRequestSchema } from "@bpfleet/wire";
import type { MapReading, MapRef, Survey, WriteMapRequest } from "../machine/machine.ts";
import {
  decodeReading,
  decodeReadRequest,
  decodeSurvey,
  decodeWriteRequest,
  encodeReading,
  encodeReadRequest,
  encodeSurvey,
  encodeWriteRequest,
} from "./machine-wire.ts";

const survey: Survey = {
  inventory: { programs: [], maps: [], links: [] },
  processes: [
    {
      pid: 7,
      command: "agent",
      cgroup: "/a",
      podUid: "u",
      containerId: "c",
      programIds: [1],
      mapIds: [2, 3],
      linkIds: [],
    },
    { pid: 8, command: "bash", cgroup: "", programIds: [], mapIds: [], linkIds: [9] },
  ],
  maps: [
    { mapId: 2, memoryBytes: 1n << 40n, entries: 0, isAtLeast: false, isFrozen: true },
    { mapId: 3, memoryBytes: 0n, isAtLeast: false, isFrozen: false },
  ],
  places: [{ programId: 1, hook: "xdp/eth0", position: 1, members: 2 }],
  owners: [
    {
      key: "bytecode/x/program",
      owner: { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name: "x" },
      objectDigest: "ab",
      imageDigest: "sha256:cd",
    },
    { key: "node/events", owner: undefined },
  ],
  findings: [{ kind: "orphan", key: "k", text: "t" }],
  sample: { windowMs: 200.5, switchingMs: 0.5, runs: [{ programId: 1, runs: 3n, timeNs: 99n }] },
};

test("a survey arrives as it was sent", () => {
  const sent = fromBinary(SurveySchema, toBinary(SurveySchema, encodeSurvey(survey)));
  assert.deepEqual(decodeSurvey(sent), survey);
});

test("a reading of a map arrives as it was sent, with types and without", () => {
  const reading: MapReading = {
    id: 2,
    name: "m",
    definition: { type: "percpu_hash", keySize: 4, valueSize: 8, maxEntries: 16, flags: 1 },
    ours: undefined,
    isFrozen: false,
    memoryBytes: 4096n,
    types: { btf: Uint8Array.of(1, 2), keyTypeId: 0, valueTypeId: 7 },
    entries: { count: 1, keys: Uint8Array.of(1, 0, 0, 0), values: new Uint8Array(16) },
    cpus: 2,
    isWhole: true,
  };
  for (const each of [reading, { ...reading, ours: "maps/default/m", types: undefined }]) {
    const sent = fromBinary(MapReadingSchema, toBinary(MapReadingSchema, encodeReading(each)));
    assert.deepEqual(decodeReading(sent), each);
  }
});

test("requests about maps arrive as they were sent, however the map is named", () => {
  const refs: readonly MapRef[] = [
    { by: "id", id: 4 },
    { by: "pin-path", path: "/run/bpfd/fs/maps/u/m" },
    { by: "key", key: "maps/default/m" },
  ];
  const entries = { count: 1, keys: Uint8Array.of(1), values: Uint8Array.of(2) };
  for (const map of refs) {
    const write: WriteMapRequest = { map, puts: entries, deletes: entries, force: true };
    const sent = toBinary(WriteMapRequestSchema, encodeWriteRequest(write));
    assert.deepEqual(decodeWriteRequest(fromBinary(WriteMapRequestSchema, sent)), write);
    const read = { map, key: Uint8Array.of(), max: 3 };
    const asked = toBinary(ReadMapRequestSchema, encodeReadRequest(read));
    assert.deepEqual(decodeReadRequest(fromBinary(ReadMapRequestSchema, asked)), read);
  }
  assert.throws(() => decodeReadRequest(fromBinary(ReadMapRequestSchema, Uint8Array.of())), { code: "invalid" });
});
