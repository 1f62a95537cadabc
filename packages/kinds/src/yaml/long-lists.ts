/** Lines of a text that all are plain items of one list, if their first and their last are: `- 10.0.0.1`. */
export interface LongList {
  /** Offsets of the first and the last item's value. */
  readonly first: number;
  readonly last: number;
  /** What lies between them. */
  readonly values: readonly string[];
  readonly offsets: readonly number[];
}

export interface ShortenedText {
  /** As long as the original, with blanks in the place of what lies between. */
  readonly text: string;
  /** By the offset of the first item's value. */
  readonly lists: ReadonlyMap<number, LongList>;
}

/** Shorter ones are read as fast without. */
const fewest = 1000;

/** Addresses and numbers; neither key, quote, comment nor anything else that YAML would look into. */
const run = /^( *- )[\da-fA-F.:/]*[\da-fA-F./]\n(?:\1[\da-fA-F.:/]*[\da-fA-F./]\n)+/gm;

/**
 * Takes the middle of long plain lists out of a text, which a YAML parser reads at 20,000 lines a second and
 * keeps in a hundred times their size. Whether they are lists, the parser says by what it finds at both ends.
 */
export function shortenLists(text: string): ShortenedText | undefined {
  const lists = new Map<number, LongList>();
  const parts: string[] = [];
  let done = 0;
  for (const { 0: found, 1: lead = "", index } of text.matchAll(run)) {
    const lines = found.split("\n");
    lines.pop();
    if (lines.length < fewest) continue;
    const offsets: number[] = [];
    let at = index;
    for (const line of lines) {
      offsets.push(at + lead.length);
      at += line.length + 1;
    }
    const [first = 0, second = 0] = offsets;
    const last = offsets.at(-1) ?? 0;
    const middle = last - second;
    parts.push(text.slice(done, second - lead.length), " ".repeat(middle - 1), "\n");
    done = last - lead.length;
    const values = lines.slice(1, -1).map((line) => line.slice(lead.length));
    lists.set(first, { first, last, values, offsets: offsets.slice(1, -1) });
  }
  if (lists.size === 0) return undefined;
  parts.push(text.slice(done));
  return { text: parts.join(""), lists };
}
