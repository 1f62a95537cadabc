export interface TabOptions {
  /** Least width of a column, padding included. */
  readonly minWidth: number;
  /** Blanks between the widest cell and the next column. */
  readonly padding: number;
}

/** What `kubectl get` uses for its tables. */
const listTabs: TabOptions = { minWidth: 6, padding: 3 };

/** What `kubectl describe` uses. */
export const describeTabs: TabOptions = { minWidth: 0, padding: 2 };

/**
 * Aligns the cells of tab-separated lines. A column reaches over adjacent lines that have a cell in it;
 * the text after the last tab of a line is free and widens nothing.
 */
export function alignTabs(lines: readonly string[], options: TabOptions): string {
  const rows = lines.map((line) => line.split("\t"));
  const widths = rows.map((row) => Array.from({ length: row.length - 1 }, () => 0));
  for (let at = 0; at < rows.length; at++) {
    const row = rows[at] ?? [];
    for (let column = 0; column < row.length - 1; column++) {
      if (widths[at]?.[column] !== 0) continue;
      const end = endOfBlock(rows, at, column);
      let width = options.minWidth;
      for (let line = at; line < end; line++) {
        width = Math.max(width, textWidth(rows[line]?.[column] ?? "") + options.padding);
      }
      for (let line = at; line < end; line++) (widths[line] ?? [])[column] = width;
    }
  }
  return rows
    .map((row, at) =>
      row.map((cell, column) => cell + " ".repeat(Math.max(0, (widths[at]?.[column] ?? 0) - textWidth(cell)))).join(""),
    )
    .join("\n");
}

function endOfBlock(rows: readonly (readonly string[])[], start: number, column: number): number {
  let end = start;
  while (end < rows.length && column < (rows[end]?.length ?? 0) - 1) end++;
  return end;
}

/** A table as `kubectl get` prints it; `header` may be left out. Every line ends with a line feed. */
export function renderTable(header: readonly string[] | undefined, rows: readonly (readonly string[])[]): string {
  const all = header === undefined ? rows : [header, ...rows];
  if (all.length === 0) return "";
  const lines = all.map((row) => row.map((cell) => cell.replace(/[\t\n\r]+/g, " ")).join("\t"));
  return `${alignTabs(lines, listTabs)
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")}\n`;
}

/** In characters; combining marks take no room, wide East Asian ones take two. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mark}/u.test(character)) continue;
    width += isWide(character.codePointAt(0) ?? 0) ? 2 : 1;
  }
  return width;
}

function isWide(code: number): boolean {
  return (
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0xa4cf) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0xffe0 && code <= 0xffe6) ||
    (code >= 0x1f300 && code <= 0x1faff) ||
    (code >= 0x20000 && code <= 0x3fffd)
  );
}

/** An age as kubectl writes it: `5s`, `3m12s`, `47h`, `9d`. */
export function renderAge(ageMs: number): string {
  const seconds = Math.trunc(ageMs / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 120) return `${Math.max(0, seconds)}s`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes < 10) return twoUnits(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(minutes / 60);
  if (hours < 8) return twoUnits(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(hours / 24);
  if (days < 8) return twoUnits(days, "d", hours % 24, "h");
  if (days < 730) return `${days}d`;
  const years = Math.trunc(days / 365);
  return days < 2920 ? twoUnits(years, "y", days % 365, "d") : `${years}y`;
}

function twoUnits(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`;
}
