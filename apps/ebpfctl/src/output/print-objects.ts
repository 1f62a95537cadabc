import type { ObjectReport } from "@bpfleet/agent";
import { renderAge, renderTable } from "@bpfleet/base";
import { renderYaml, type Column, type Kind } from "@bpfleet/kinds";
import { Failure } from "../failure.ts";
import { singularName } from "../resources/resource-args.ts";
import type { SelectedKind } from "../resources/select-objects.ts";
import { findByPath, JsonPathError, renderTemplate, renderValue } from "./json-path.ts";
import { noSuchForm } from "./parse-form.ts";

export type OutputFormat =
  | { readonly form: "table"; readonly isWide: boolean }
  | { readonly form: "json" | "yaml" | "name" }
  | { readonly form: "jsonpath"; readonly template: string };

export const outputForms = "json|yaml|name|wide|jsonpath=TEMPLATE";

export function parseOutputFormat(text: string | undefined): OutputFormat {
  if (text === undefined) return { form: "table", isWide: false };
  if (text === "wide") return { form: "table", isWide: true };
  if (text === "json" || text === "yaml" || text === "name") return { form: text };
  const template = /^jsonpath=(.*)$/s.exec(text)?.[1];
  if (template !== undefined) return { form: "jsonpath", template };
  throw noSuchForm(text, outputForms);
}

export interface TableOptions {
  readonly isWide: boolean;
  readonly hasHeader: boolean;
  readonly hasNamespace: boolean;
  /** Names are written as `kind.group/name`, as `get` does for several kinds. */
  readonly hasKind: boolean;
  readonly nowMs: number;
}

/** The objects of one kind as `kubectl get` prints them. */
export function renderObjects({ kind, objects }: SelectedKind, options: TableOptions): string {
  const columns = columnsOf(kind, options.isWide);
  const header = [
    ...(options.hasNamespace ? ["NAMESPACE"] : []),
    ...columns.map((column) => column.name.toUpperCase()),
  ];
  return renderTable(
    options.hasHeader ? header : undefined,
    objects.map((object) => rowOf(kind, object, columns, options)),
  );
}

const namePath = ".metadata.name";
const nameColumn: Column = { name: "Name", jsonPath: namePath, type: "string", priority: 0, description: "" };

/** The name comes first, as Kubernetes puts it there by itself. */
function columnsOf(kind: Kind, isWide: boolean): readonly Column[] {
  const own = kind.columns.filter((column) => column.jsonPath !== namePath && (isWide || column.priority === 0));
  return [nameColumn, ...own];
}

function rowOf(
  kind: Kind,
  { ref, object }: ObjectReport,
  columns: readonly Column[],
  options: TableOptions,
): readonly string[] {
  const cells = columns.map((column) => {
    if (column.jsonPath === namePath) return options.hasKind ? `${singularName(kind)}/${ref.name}` : ref.name;
    return renderCell(column, findByPath(column.jsonPath, object), options.nowMs);
  });
  return options.hasNamespace ? [ref.namespace, ...cells] : cells;
}

function renderCell(column: Column, values: readonly unknown[], nowMs: number): string {
  if (column.type !== "date") return values.map(renderValue).join(",");
  const at = Date.parse(String(values[0]));
  return Number.isNaN(at) ? "<unknown>" : renderAge(nowMs - at);
}

/** One object, or a List of several, as `-o` asks for it. */
export function renderDocument(
  kinds: readonly SelectedKind[],
  format: Exclude<OutputFormat, { form: "table" }>,
  isSingle: boolean,
): string {
  if (format.form === "name") {
    return kinds
      .flatMap(({ kind, objects }) => objects.map(({ ref }) => `${singularName(kind)}/${ref.name}\n`))
      .join("");
  }
  const objects = kinds.flatMap((selected) => selected.objects.map(({ object }) => object));
  const [only] = objects;
  const value =
    isSingle && only !== undefined && objects.length === 1
      ? only
      : { apiVersion: "v1", items: objects, kind: "List", metadata: { resourceVersion: "" } };
  switch (format.form) {
    case "json":
      return `${JSON.stringify(sortKeys(value), undefined, 4)}\n`;
    case "yaml":
      return renderYaml(value);
    case "jsonpath":
      return renderJsonPath(format.template, value);
  }
}

function renderJsonPath(template: string, value: unknown): string {
  try {
    return renderTemplate(template, value);
  } catch (cause) {
    if (cause instanceof JsonPathError) throw new Failure(cause.message, { cause });
    throw cause;
  }
}

/** As kubectl prints JSON: fields in order of their names. */
export function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([name, field]) => [name, sortKeys(field)]));
}
