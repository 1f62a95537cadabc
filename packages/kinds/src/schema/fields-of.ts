import { asJsonSchema, entriesOf, enumOf, nullableOf } from "./json-schema.ts";
import type { JsonSchema } from "./json-schema.ts";

/** One field of a kind, for its reference page. */
export interface FieldFacts {
  /** `spec.settings.blacklist.ips[]`. */
  readonly path: string;
  readonly type: string;
  readonly isRequired: boolean;
  /** As YAML; `""` for none. */
  readonly default: string;
  readonly description: string;
  /** `1 to 10.`; `""` for none. */
  readonly limits: string;
  /** Rules with the field that each is about. */
  readonly rules: readonly { readonly field: string; readonly message: string }[];
}

/** Every field below a schema, each parent before its children. */
export function listFields(schema: object, at: string): readonly FieldFacts[] {
  return walk(asJsonSchema(schema), at, false);
}

function walk(schema: JsonSchema, path: string, isRequired: boolean): readonly FieldFacts[] {
  const inner = nullableOf(schema);
  if (inner !== undefined)
    return walk(
      { ...inner, ...(schema.description === undefined ? {} : { description: schema.description }) },
      path,
      isRequired,
    );
  const rules = [...(schema.rules ?? []), ...(schema.changeRules ?? [])].map(({ field, message }) => ({
    field: `${path}${field.replaceAll("/", ".")}`,
    message,
  }));
  const own: FieldFacts = {
    path,
    type: typeOf(schema),
    isRequired,
    default: schema.default === undefined ? "" : `\`${JSON.stringify(schema.default)}\``,
    description: schema.description ?? "",
    limits: limitsOf(schema),
    rules,
  };
  const children = Object.entries(schema.properties ?? {}).flatMap(([name, field]) =>
    walk(field, `${path}.${name}`, schema.required?.includes(name) === true && field.default === undefined),
  );
  const { items } = schema;
  if (items === undefined) return [own, ...children];
  return [
    own,
    ...children,
    ...(items.properties === undefined && items.rules === undefined
      ? []
      : walk(items, `${path}[]`, false).filter((field) => field.path !== `${path}[]` || field.rules.length > 0)),
  ];
}

function typeOf(schema: JsonSchema): string {
  if (schema["x-kubernetes-int-or-string"] === true) return "number or text";
  const choices = enumOf(schema);
  if (choices !== undefined) return choices.map((choice) => `\`${String(choice)}\``).join(", ");
  const entries = entriesOf(schema);
  if (entries !== undefined) return `map to ${typeOf(entries)}`;
  if (schema.type === "array") return `list of ${schema.items === undefined ? "anything" : typeOf(schema.items)}`;
  const names: Readonly<Record<string, string>> = {
    object: "object",
    string: "text",
    integer: "whole number",
    number: "number",
    boolean: "true or false",
  };
  return names[schema.type ?? ""] ?? "anything";
}

function limitsOf(schema: JsonSchema): string {
  const limits: string[] = [];
  const { minimum, maximum, minLength, maxLength, maxItems, patternMeaning } = schema;
  const isWhole32 = minimum === -2147483648 && maximum === 2147483647;
  if (minimum !== undefined && maximum !== undefined && !isWhole32) limits.push(`${minimum} to ${maximum}`);
  else if (minimum !== undefined && !isWhole32) limits.push(`at least ${minimum}`);
  if (maxLength !== undefined)
    limits.push(
      minLength === undefined || minLength <= 1
        ? `at most ${maxLength} characters`
        : `${minLength} to ${maxLength} characters`,
    );
  if (maxItems !== undefined) limits.push(`at most ${maxItems} items`);
  if (patternMeaning !== undefined) limits.push(patternMeaning);
  const [first = "", ...rest] = limits;
  return first === "" ? "" : `${[`${first.charAt(0).toUpperCase()}${first.slice(1)}`, ...rest].join("; ")}.`;
}
