import type { Position } from "@bpfleet/base";

/** Where a value and everything in it stands in a text, as character offsets; a leaf is just its offset. */
export type Place = number | PlacedFields | PlacedItems;

interface PlacedFields {
  readonly at: number;
  readonly fields: ReadonlyMap<string, Place>;
}

interface PlacedItems {
  readonly at: number;
  readonly items: readonly Place[];
}

export function placeOffset(place: Place): number {
  return typeof place === "number" ? place : place.at;
}

/** The place of a JSON pointer, or of its nearest parent that is in the text. */
export function findPlace(root: Place, pointer: string): Place {
  let here = root;
  for (const step of splitPointer(pointer)) {
    if (typeof here === "number") return here;
    const next = "fields" in here ? here.fields.get(step) : here.items[Number(step)];
    if (next === undefined) return here;
    here = next;
  }
  return here;
}

/** Line and column of offsets in one text. */
export class LineTable {
  readonly #starts: number[] = [0];
  readonly #file: string;

  constructor(text: string, file: string) {
    this.#file = file;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) this.#starts.push(at + 1);
  }

  positionOf(offset: number): Position {
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return { file: this.#file, line: low + 1, column: offset - (this.#starts[low] ?? 0) + 1 };
  }
}

/** The value at a JSON pointer; `undefined` where there is none. */
export function valueAt(root: unknown, pointer: string): unknown {
  let here = root;
  for (const step of splitPointer(pointer)) {
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Readonly<Record<string, unknown>>)[step];
  }
  return here;
}

function splitPointer(pointer: string): readonly string[] {
  if (pointer === "") return [];
  return pointer
    .slice(1)
    .split("/")
    .map((step) => (step.includes("~") ? step.replaceAll("~1", "/").replaceAll("~0", "~") : step));
}

export function joinPointer(pointer: string, step: string | number): string {
  if (typeof step === "number") return `${pointer}/${step}`;
  return `${pointer}/${step.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** `/spec/ips/1` as people write it: `spec.ips[1]`. */
export function renderPath(pointer: string): string {
  let text = "";
  for (const step of splitPointer(pointer)) {
    if (/^\d+$/.test(step)) text += `[${step}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(step)) text += text === "" ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** The pointer that `renderPath` made the beginning of a text of; that of the whole object where none stands there. */
export function pointerAtStart(text: string): string {
  let pointer = "";
  let at = 0;
  const step = /\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/y;
  for (let found = step.exec(text); found !== null; found = step.exec(text)) {
    const [, name, index, quoted = '""'] = found;
    pointer = joinPointer(pointer, name ?? index ?? (JSON.parse(quoted) as string));
    at = step.lastIndex;
  }
  return text[at] === ":" ? pointer : "";
}
