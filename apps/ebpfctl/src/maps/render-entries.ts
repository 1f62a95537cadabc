import { renderTable } from "@bpfleet/base";
import type { BtfValue } from "@bpfleet/btf";
import { isRecord, sumValues, type Entry } from "./entry-codec.ts";
import { renderJson } from "./json.ts";

/** Structs wider than this stay in one cell. */
const mostColumns = 12;

interface Row {
  readonly key: BtfValue;
  readonly cpu: string | undefined;
  readonly value: BtfValue;
}

/** One line an entry, fields of structs in columns of their own. */
export function renderEntries(entries: readonly Entry[], isPerCpu: boolean): string {
  const rows = entries.flatMap(({ key, values }): Row[] =>
    isPerCpu
      ? values.map((value, cpu) => ({ key, cpu: String(cpu), value }))
      : [{ key, cpu: undefined, value: sumValues(values) }],
  );
  const keyColumns = columnsOf(rows.map(({ key }) => key));
  const valueColumns = columnsOf(rows.map(({ value }) => value));
  const header = [...(keyColumns ?? ["key"]), ...(isPerCpu ? ["cpu"] : []), ...(valueColumns ?? ["value"])];
  return renderTable(
    header.map((name) => name.toUpperCase()),
    rows.map(({ key, cpu, value }) => [
      ...cellsOf(key, keyColumns),
      ...(cpu === undefined ? [] : [cpu]),
      ...cellsOf(value, valueColumns),
    ]),
  );
}

export function entryJson({ key, values }: Entry, isPerCpu: boolean): object {
  return isPerCpu ? { key, values: values.map((value, cpu) => ({ cpu, value })) } : { key, value: sumValues(values) };
}

/** A word, or JSON for what has fields. */
export function renderValue(value: BtfValue): string {
  return typeof value === "object" ? renderJson(value) : String(value);
}

function columnsOf(values: readonly BtfValue[]): readonly string[] | undefined {
  const [first] = values;
  if (first === undefined || !isRecord(first)) return undefined;
  const names = Object.keys(first);
  return names.length > 0 && names.length <= mostColumns && values.every((each) => isRecord(each)) ? names : undefined;
}

function cellsOf(value: BtfValue, columns: readonly string[] | undefined): readonly string[] {
  if (columns === undefined || !isRecord(value)) return [renderValue(value)];
  return columns.map((name) => renderValue(value[name] ?? ""));
}
