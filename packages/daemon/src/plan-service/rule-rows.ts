import { decodeUtf8, encodeUtf8, refKey, type ObjectRef, type Position } from "@bpfleet/base";
import type { RuleRef } from "@bpfleet/kernel";

type Row = readonly [
  index: number,
  id: string,
  text: string,
  object: number,
  path: string,
  position?: readonly [file: string, line: number, column: number],
];

/** A hundred thousand rules name few objects: each is written once. Plain JSON, which is read much faster than our values. */
interface RuleRows {
  readonly objects: readonly ObjectRef[];
  readonly rows: readonly Row[];
}

export function encodeRules(rules: readonly RuleRef[]): Uint8Array {
  const objects: ObjectRef[] = [];
  const known = new Map<string, number>();
  let last: { readonly object: ObjectRef; readonly at: number } | undefined;
  const indexOf = (object: ObjectRef): number => {
    if (last?.object === object) return last.at;
    const key = refKey(object);
    const at = known.get(key) ?? objects.push(object) - 1;
    known.set(key, at);
    last = { object, at };
    return at;
  };
  const rows = rules.map(({ index, id, text, origin: { object, path, position } }): Row => {
    const row = [index, id, text, indexOf(object), path] as const;
    return position === undefined ? row : [...row, [position.file, position.line, position.column]];
  });
  return encodeUtf8(JSON.stringify({ objects, rows } satisfies RuleRows));
}

/** Throws SyntaxError or RangeError for what encodeRules does not make. */
export function decodeRules(bytes: Uint8Array): readonly RuleRef[] {
  const { objects, rows } = JSON.parse(decodeUtf8(bytes)) as RuleRows;
  return rows.map(([index, id, text, at, path, place]) => {
    const object = objects[at];
    if (object === undefined) throw new RangeError(`read rules: object ${at} is not there`);
    return { index, id, text, origin: { object, path, position: place && positionOf(place) } };
  });
}

function positionOf([file, line, column]: NonNullable<Row[5]>): Position {
  return { file, line, column };
}
