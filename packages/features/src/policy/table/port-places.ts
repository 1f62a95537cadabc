/** Which column a port falls in, by pages: a root has a place for each high byte of a port. */
import { portSpace } from "../generated/policy.ts";
import type { ColumnMap, PortRange } from "./policy-table.ts";

export const rootLines = 16;
export const pageLines = 8;
const pagePorts = 256;

export interface PortPlaces {
  readonly lineCount: number;
  /** The lines from line 0 on; places of pages are counted from there. */
  readonly words: Uint32Array;
  /** Of each column map: place of each protocol's root by its number in `portSpace`, -1 where there is none. */
  readonly roots: readonly (readonly number[])[];
}

/** `first`: number of the line that will be the first of them. */
export function placePorts(maps: readonly ColumnMap[], first: number): PortPlaces {
  const pages = new Map<string, number>();
  const chunks: { readonly at: number; readonly words: Uint32Array }[] = [];
  let lineCount = 0;
  const add = (words: Uint32Array): number => {
    const at = lineCount;
    chunks.push({ at, words });
    lineCount += words.length / 16;
    return at;
  };
  const addPage = (columns: Uint16Array): number => {
    const words = new Uint32Array(columns.buffer);
    const key = textOf(columns);
    const known = pages.get(key);
    if (known !== undefined) return known;
    const at = add(words);
    pages.set(key, at);
    return at;
  };
  const addRoot = (ranges: readonly PortRange[]): number => {
    if (ranges.length === 0) return -1;
    const root = new Uint32Array(rootLines * 16);
    for (const [high, columns] of pagesOf(ranges)) root[high] = first + addPage(columns);
    return add(root);
  };
  const roots = maps.map((map) => Object.keys(portSpace).map((space) => addRoot(map[space as keyof ColumnMap])));
  const words = new Uint32Array(lineCount * 16);
  for (const chunk of chunks) words.set(chunk.words, chunk.at * 16);
  return { lineCount, words, roots };
}

/** Equal for equal pages: where another column begins. */
function textOf(columns: Uint16Array): string {
  let text = "";
  let before = -1;
  for (let at = 0; at < columns.length; at++) {
    const column = columns[at] ?? 0;
    if (column === before) continue;
    text += `${at} ${column},`;
    before = column;
  }
  return text;
}

/** High byte of the port → columns by the low byte; only pages that name a port. */
function pagesOf(ranges: readonly PortRange[]): Map<number, Uint16Array> {
  const pages = new Map<number, Uint16Array>();
  for (const { from, to, column } of ranges) {
    for (let high = from >> 8; high <= to >> 8; high++) {
      let page = pages.get(high);
      if (page === undefined) pages.set(high, (page = new Uint16Array(pagePorts)));
      page.fill(column, Math.max(from - high * pagePorts, 0), Math.min(to - high * pagePorts + 1, pagePorts));
    }
  }
  return pages;
}
