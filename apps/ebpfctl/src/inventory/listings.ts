import { renderAge, renderRef } from "@bpfleet/base";
import type { HoldingProcess } from "@bpfleet/daemon/client";
import type { LinkRow, MapRow, ProgramRow, SurveyRows } from "./rows.ts";

export interface Column<T> {
  readonly name: string;
  readonly isWide?: true;
  readonly cell: (item: T, nowMs: number) => string;
}

/** How one kind of thing in the kernel is listed and shown. */
export interface Listing<T> {
  readonly command: string;
  readonly summary: string;
  readonly what: string;
  pick(rows: SurveyRows): readonly T[];
  readonly columns: readonly Column<T>[];
  /** Beside the columns, where one is shown by itself. */
  readonly details: readonly Column<T>[];
}

const owner = ({ ours }: Pick<ProgramRow, "ours">) => ours ?? "<foreign>";
const declaredBy = ({ owner: found }: Pick<ProgramRow, "owner">) =>
  found?.owner === undefined ? "" : renderRef(found.owner);
const heldBy = ({ heldBy: processes }: Pick<ProgramRow, "heldBy">) => processes.map(renderProcess).join(", ");
const findings = ({ findings: found }: Pick<ProgramRow, "findings">) =>
  found.map(({ kind, text }) => `${kind}: ${text}`).join("; ");
const age = (loadedAt: string, nowMs: number): string => {
  const at = Date.parse(loadedAt);
  return Number.isNaN(at) ? "<unknown>" : renderAge(nowMs - at);
};

/** `nginx[812] in pod 1c5e… ` */
function renderProcess({ pid, command, podUid, cgroup }: HoldingProcess): string {
  const place = podUid !== undefined ? ` of pod ${podUid}` : cgroup === "" || cgroup === "/" ? "" : ` in ${cgroup}`;
  return `${command}[${pid}]${place}`;
}

const runs = ({ sampled, runCount }: ProgramRow) =>
  String(sampled === undefined ? runCount : Math.round((Number(sampled.runs) * 1000) / sampled.windowMs));
const nsPerRun = ({ sampled, runCount, runTimeNs }: ProgramRow) => {
  const [count, time] = sampled === undefined ? [runCount, runTimeNs] : [sampled.runs, sampled.timeNs];
  return count === 0n ? "" : String(time / count);
};

export const programs: Listing<ProgramRow> = {
  command: "prog",
  summary: "list every BPF program on this node, ours and foreign",
  what: "programs",
  pick: (rows) => rows.programs(),
  columns: [
    { name: "ID", cell: ({ id }) => String(id) },
    { name: "TYPE", cell: ({ type }) => type },
    { name: "NAME", cell: ({ name }) => name },
    { name: "OWNER", cell: owner },
    {
      name: "HOOK",
      cell: ({ places }) =>
        places.map(({ hook, position, members }) => (members > 1 ? `${hook} ${position}/${members}` : hook)).join(", "),
    },
    { name: "RUNS", cell: runs },
    { name: "NS/RUN", cell: nsPerRun },
    { name: "AGE", cell: ({ loadedAt }, nowMs) => age(loadedAt, nowMs) },
    { name: "TAG", isWide: true, cell: ({ tag }) => tag },
    { name: "UID", isWide: true, cell: ({ uid }) => String(uid) },
    { name: "INSNS", isWide: true, cell: ({ verifiedInsns }) => String(verifiedInsns) },
    { name: "JITED", isWide: true, cell: ({ jitedBytes }) => String(jitedBytes) },
    { name: "MAPS", isWide: true, cell: ({ mapIds }) => mapIds.join(",") },
    { name: "DECLARED-BY", isWide: true, cell: declaredBy },
    { name: "HELD-BY", isWide: true, cell: heldBy },
  ],
  details: [
    {
      name: "OBJECT",
      cell: (row) => (row.owner?.objectDigest === undefined ? "" : `sha256:${row.owner.objectDigest}`),
    },
    { name: "IMAGE", cell: (row) => row.owner?.imageDigest ?? "" },
    { name: "LOADED", cell: ({ loadedAt }) => loadedAt },
    { name: "FINDINGS", cell: findings },
  ],
};

export const maps: Listing<MapRow> = {
  command: "map",
  summary: "list, print and change the BPF maps on this node",
  what: "maps",
  pick: (rows) => rows.maps(),
  columns: [
    { name: "ID", cell: ({ id }) => String(id) },
    { name: "TYPE", cell: ({ type }) => type },
    { name: "NAME", cell: ({ name }) => name },
    { name: "OWNER", cell: owner },
    { name: "KEY", cell: ({ definition }) => String(definition.keySize) },
    { name: "VALUE", cell: ({ definition }) => String(definition.valueSize) },
    { name: "ENTRIES", isWide: true, cell: entriesOf },
    { name: "MAX", cell: ({ definition }) => String(definition.maxEntries) },
    { name: "MEMORY", cell: ({ use }) => (use === undefined ? "<unknown>" : renderBytes(use.memoryBytes)) },
    { name: "FLAGS", isWide: true, cell: ({ definition }) => `0x${definition.flags.toString(16)}` },
    { name: "FROZEN", isWide: true, cell: ({ use }) => String(use?.isFrozen ?? false) },
    { name: "PROGRAMS", isWide: true, cell: ({ programs: users }) => users.join(",") },
    { name: "DECLARED-BY", isWide: true, cell: declaredBy },
    { name: "HELD-BY", isWide: true, cell: heldBy },
  ],
  details: [{ name: "FINDINGS", cell: findings }],
};

export const links: Listing<LinkRow> = {
  command: "link",
  summary: "list every BPF link on this node, ours and foreign",
  what: "links",
  pick: (rows) => rows.links(),
  columns: [
    { name: "ID", cell: ({ id }) => String(id) },
    { name: "TYPE", cell: ({ type }) => type },
    { name: "TARGET", cell: ({ target }) => target },
    { name: "PROGRAM", cell: ({ programId }) => String(programId) },
    { name: "OWNER", cell: owner },
    { name: "HELD-BY", isWide: true, cell: heldBy },
  ],
  details: [{ name: "FINDINGS", cell: findings }],
};

function entriesOf({ use }: MapRow): string {
  if (use?.entries === undefined) return "<unknown>";
  return `${use.entries}${use.isAtLeast ? "+" : ""}`;
}

/** `512`, `4Ki`, `1.5Mi` */
export function renderBytes(bytes: bigint): string {
  const units = ["", "Ki", "Mi", "Gi"];
  let size = Number(bytes);
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${Number.isInteger(size) ? size : size.toFixed(1)}${units[unit]}`;
}
