import { asJsonSchema, entriesOf, enumOf, nullableOf } from "./json-schema.ts";
import type { ChangeRule, JsonSchema } from "./json-schema.ts";

/** Fields that go into a structural schema as they are. */
const kept = [
  "description",
  "format",
  "minimum",
  "maximum",
  "multipleOf",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "pattern",
  "default",
] as const;

/**
 * The structural schema of a CustomResourceDefinition for a schema of ours. Throws TypeError for what an
 * API server refuses and no rewriting can save: model that as "exactly one of" with a rule.
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
 */
export function toStructural(schema: object): Record<string, unknown> {
  return convert(asJsonSchema(schema), "");
}

function convert(schema: JsonSchema, at: string): Record<string, unknown> {
  const nullable = nullableOf(schema);
  if (nullable !== undefined) return { ...convert({ ...nullable, ...describedBy(schema) }, at), nullable: true };
  const base = { ...plainFields(schema), ...kubernetesFields(schema) };
  if (schema["x-kubernetes-int-or-string"] === true)
    return { anyOf: [{ type: "integer" }, { type: "string" }], ...base };
  const choices = enumOf(schema);
  if (choices !== undefined) return { type: choiceType(choices, at), enum: choices, ...base };
  if (schema.anyOf !== undefined)
    throw new TypeError(
      `${at === "" ? "schema" : at}: a structural schema has no unions; model it as "exactly one of" with a rule`,
    );
  switch (schema.type) {
    case "object":
      return { type: "object", ...objectFields(schema, at), ...base };
    case "array":
      return {
        type: "array",
        ...(schema.items === undefined ? preserved : { items: convert(schema.items, `${at}[]`) }),
        ...base,
      };
    case "string":
    case "boolean":
    case "integer":
    case "number":
      return { type: schema.type, ...base };
    case undefined:
      return { ...preserved, ...base };
    default:
      throw new TypeError(`${at}: a structural schema has no type ${schema.type}`);
  }
}

const preserved = { "x-kubernetes-preserve-unknown-fields": true };

function plainFields(schema: JsonSchema): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const name of kept) if (schema[name] !== undefined) fields[name] = schema[name];
  if (schema.exclusiveMinimum !== undefined)
    Object.assign(fields, { minimum: schema.exclusiveMinimum, exclusiveMinimum: true });
  if (schema.exclusiveMaximum !== undefined)
    Object.assign(fields, { maximum: schema.exclusiveMaximum, exclusiveMaximum: true });
  return fields;
}

function kubernetesFields(schema: JsonSchema): Record<string, unknown> {
  const fields = Object.fromEntries(Object.entries(schema).filter(([name]) => name.startsWith("x-kubernetes-")));
  const rules = [...(schema.rules ?? []), ...(schema.changeRules ?? [])];
  if (rules.length > 0) fields["x-kubernetes-validations"] = rules.map(renderRule);
  return fields;
}

function renderRule(rule: ChangeRule): Record<string, unknown> {
  const reasons = { required: "FieldValueRequired", invalid: "FieldValueInvalid", forbidden: "FieldValueForbidden" };
  const fieldPath = rule.field === "" ? {} : { fieldPath: rule.field.replaceAll("/", ".") };
  return { rule: rule.cel, message: rule.message, reason: reasons[rule.code], ...fieldPath };
}

/** A field with a default is never missing when the API server looks, and must not be listed as required. */
function objectFields(schema: JsonSchema, at: string): Record<string, unknown> {
  const entries = entriesOf(schema);
  if (entries !== undefined) {
    return Object.keys(entries).length === 0 ? preserved : { additionalProperties: convert(entries, `${at}{}`) };
  }
  const properties = Object.entries(schema.properties ?? {});
  const required = (schema.required ?? []).filter((name) => schema.properties?.[name]?.default === undefined);
  return {
    ...(required.length > 0 ? { required } : {}),
    ...(properties.length > 0
      ? { properties: Object.fromEntries(properties.map(([name, field]) => [name, convert(field, `${at}.${name}`)])) }
      : {}),
  };
}

function choiceType(choices: readonly unknown[], at: string): string {
  const types = new Set(choices.map((choice) => (Number.isInteger(choice) ? "integer" : typeof choice)));
  const [type] = types;
  if (type === undefined || types.size > 1) throw new TypeError(`${at}: the values of an enum must be of one type`);
  return type;
}

function describedBy(schema: JsonSchema): JsonSchema {
  return {
    ...(schema.description === undefined ? {} : { description: schema.description }),
    ...(schema.default === undefined ? {} : { default: schema.default }),
  };
}
