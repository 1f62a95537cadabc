import { create } from "@bufbuild/protobuf";
import { KernelError } from "@bpfleet/base";
import { noEntries, type MapDefinition, type MapEntries } from "@bpfleet/kernel";
import * as wire from "@bpfleet/wire";
import type { Finding, MapReading, MapRef, ReadMapRequest, Survey, WriteMapRequest } from "../machine/machine.ts";
import { decodeInventory, decodeRef } from "./from-wire.ts";
import { encodeInventory, encodeRef } from "./to-wire.ts";

/** The values of `MachineService` as messages, and back. */

export function encodeSurvey(survey: Survey): wire.Survey {
  return create(wire.SurveySchema, {
    inventory: encodeInventory(survey.inventory),
    processes: survey.processes.map((each) => ({
      ...each,
      programIds: [...each.programIds],
      mapIds: [...each.mapIds],
      linkIds: [...each.linkIds],
    })),
    maps: survey.maps.map((each) => ({ ...each })),
    places: survey.places.map((each) => ({ ...each })),
    owners: survey.owners.map(({ owner, ...rest }) => ({ ...rest, ...(owner && { owner: encodeRef(owner) }) })),
    findings: survey.findings.map((each) => ({ ...each })),
    ...(survey.sample && {
      sample: {
        windowMs: survey.sample.windowMs,
        switchingMs: survey.sample.switchingMs,
        runs: survey.sample.runs.map((each) => ({ ...each })),
      },
    }),
  });
}

export function decodeSurvey(survey: wire.Survey): Survey {
  const { inventory, sample } = survey;
  return {
    inventory: decodeInventory(inventory ?? create(wire.InventorySchema)),
    processes: survey.processes.map(({ pid, command, cgroup, podUid, containerId, programIds, mapIds, linkIds }) => ({
      pid,
      command,
      cgroup,
      ...(podUid !== undefined && { podUid }),
      ...(containerId !== undefined && { containerId }),
      programIds,
      mapIds,
      linkIds,
    })),
    maps: survey.maps.map(({ mapId, memoryBytes, entries, isAtLeast, isFrozen }) => ({
      mapId,
      memoryBytes,
      ...(entries !== undefined && { entries }),
      isAtLeast,
      isFrozen,
    })),
    places: survey.places.map(({ programId, hook, position, members }) => ({ programId, hook, position, members })),
    owners: survey.owners.map(({ key, owner, objectDigest, imageDigest }) => ({
      key,
      owner: owner && decodeRef(owner),
      ...(objectDigest !== undefined && { objectDigest }),
      ...(imageDigest !== undefined && { imageDigest }),
    })),
    findings: survey.findings.flatMap(({ kind, key, text }) => (isFindingKind(kind) ? [{ kind, key, text }] : [])),
    ...(sample && {
      sample: {
        windowMs: sample.windowMs,
        switchingMs: sample.switchingMs,
        runs: sample.runs.map(({ programId, runs, timeNs }) => ({ programId, runs, timeNs })),
      },
    }),
  };
}

function isFindingKind(kind: string): kind is Finding["kind"] {
  return kind === "orphan" || kind === "conflict" || kind === "healed";
}

export function encodeReading({ definition, entries, types, ...reading }: MapReading): wire.MapReading {
  return create(wire.MapReadingSchema, {
    ...reading,
    definition: { ...definition },
    entries: { ...entries },
    ...(types && { ...types }),
  });
}

export function decodeReading(reading: wire.MapReading): MapReading {
  const { id, name, definition, ours, isFrozen, memoryBytes, btf, keyTypeId, valueTypeId, entries, cpus, isWhole } =
    reading;
  return {
    id,
    name,
    definition: decodeDefinition(definition),
    ours,
    isFrozen,
    memoryBytes,
    types: btf.length === 0 ? undefined : { btf, keyTypeId, valueTypeId },
    entries: decodeEntries(entries),
    cpus,
    isWhole,
  };
}

function decodeDefinition(definition: wire.MapDefinition | undefined): MapDefinition {
  const { type, keySize, valueSize, maxEntries, flags } = definition ?? create(wire.MapDefinitionSchema);
  return { type: type as MapDefinition["type"], keySize, valueSize, maxEntries, flags };
}

function decodeEntries(entries: wire.MapEntries | undefined): MapEntries {
  return entries === undefined ? noEntries : { count: entries.count, keys: entries.keys, values: entries.values };
}

function encodeMapRef(ref: MapRef): wire.MapRef {
  const by =
    ref.by === "id"
      ? ({ case: "id", value: ref.id } as const)
      : ref.by === "key"
        ? ({ case: "key", value: ref.key } as const)
        : ({ case: "pinPath", value: ref.path } as const);
  return create(wire.MapRefSchema, { by });
}

function decodeMapRef(ref: wire.MapRef | undefined): MapRef {
  const by = ref?.by;
  if (by?.case === "id") return { by: "id", id: by.value };
  if (by?.case === "pinPath") return { by: "pin-path", path: by.value };
  if (by?.case === "key") return { by: "key", key: by.value };
  throw new KernelError("read a map: the request names none", { code: "invalid", call: "ReadMap", retry: "never" });
}

export function decodeReadRequest({ map, key, max }: wire.ReadMapRequest): ReadMapRequest {
  return { map: decodeMapRef(map), key, max };
}

export function encodeReadRequest({ map, key, max }: ReadMapRequest): wire.ReadMapRequest {
  return create(wire.ReadMapRequestSchema, { map: encodeMapRef(map), max, ...(key && { key }) });
}

export function decodeWriteRequest({ map, puts, deletes, force }: wire.WriteMapRequest): WriteMapRequest {
  return { map: decodeMapRef(map), puts: decodeEntries(puts), deletes: decodeEntries(deletes), force };
}

export function encodeWriteRequest({ map, puts, deletes, force }: WriteMapRequest): wire.WriteMapRequest {
  return create(wire.WriteMapRequestSchema, {
    map: encodeMapRef(map),
    puts: { ...puts },
    deletes: { ...deletes },
    force,
  });
}
