import { renderTable } from "@bpfleet/base";
import { programs as listing } from "./listings.ts";
import type { ProgramRow } from "./rows.ts";

export type TopOrder = "cpu" | "runs";

/** What one program did in the window. */
export interface BusyProgram {
  readonly row: ProgramRow;
  readonly runsPerSecond: number;
  readonly nsPerRun: number | undefined;
  /** Of one CPU: 1 is all of its time. */
  readonly cores: number;
}

/** Those that ran, the busiest first. */
export function busyPrograms(rows: readonly ProgramRow[], order: TopOrder): readonly BusyProgram[] {
  const weigh = (each: BusyProgram): number => (order === "cpu" ? each.cores : each.runsPerSecond);
  return rows
    .flatMap((row): BusyProgram[] => {
      const { sampled } = row;
      if (sampled === undefined || sampled.runs === 0n) return [];
      const [runs, timeNs] = [Number(sampled.runs), Number(sampled.timeNs)];
      return [
        {
          row,
          runsPerSecond: (runs * 1000) / sampled.windowMs,
          nsPerRun: timeNs / runs,
          cores: timeNs / (sampled.windowMs * 1e6),
        },
      ];
    })
    .toSorted((a, b) => weigh(b) - weigh(a) || a.row.id - b.row.id);
}

const shared = ["ID", "TYPE", "NAME", "OWNER", "HOOK"];

export function renderTop(busy: readonly BusyProgram[], hasHeader: boolean, nowMs: number): string {
  const columns = listing.columns.filter(({ name }) => shared.includes(name));
  const header = [...columns.map(({ name }) => name), "CPU(cores)", "RUNS/S", "NS/RUN"];
  const rows = busy.map(({ row, cores, runsPerSecond, nsPerRun }) => [
    ...columns.map(({ cell }) => cell(row, nowMs)),
    renderCores(cores),
    String(Math.round(runsPerSecond)),
    nsPerRun === undefined ? "" : String(Math.round(nsPerRun)),
  ]);
  return renderTable(hasHeader ? header : undefined, rows);
}

/** As kubectl top writes it, and finer below a thousandth: `250m`, `80u`, `7n`. */
export function renderCores(cores: number): string {
  if (cores >= 1e-3) return `${Math.round(cores * 1e3)}m`;
  return cores >= 1e-6 ? `${Math.round(cores * 1e6)}u` : `${Math.round(cores * 1e9)}n`;
}
