import { isRecord, type Issue, type Position } from "@bpfleet/base";
import { joinPointer, renderPath } from "../yaml/places.ts";
import { setField } from "../yaml/read-yaml.ts";
import { asJsonSchema, entriesOf, enumOf, nullableOf } from "./json-schema.ts";
import type { JsonSchema, Rule } from "./json-schema.ts";
import { didYouMean } from "./suggest.ts";

/** Mistakes that keep an API server from looking at rules. */
const shapeCodes = new Set(["type", "required", "enum", "max-length", "max-items"]);

/**
 * What becomes of an object with a field that nobody knows: `left-out` alone, as an API server does; `closes-rule`: the
 * rule that it stands in lets nothing pass; `refused`.
 */
export type UnknownFieldMeaning = "left-out" | "closes-rule" | "refused";

/** Collects what is wrong with one object; every message starts with the field it is about. */
export class IssueList {
  readonly issues: Issue[] = [];
  /** Paths of errors, and everything above them. */
  readonly #tainted = new Set<string>();
  /** Paths of values that have the wrong type. */
  readonly #shapeless = new Set<string>();
  /** Paths of what no rule can be decided about, and everything above them. */
  readonly #misshapen = new Set<string>();
  /** Paths of unknown fields that close the rules in which they stand. */
  readonly closing: string[] = [];
  readonly #positionOf: (path: string) => Position | undefined;
  readonly #unknownField: (path: string) => UnknownFieldMeaning;

  constructor(
    positionOf: (path: string) => Position | undefined,
    unknownField: (path: string) => UnknownFieldMeaning = () => "left-out",
  ) {
    this.#positionOf = positionOf;
    this.#unknownField = unknownField;
  }

  get hasErrors(): boolean {
    return this.#tainted.size > 0;
  }

  /** No error was found at a path or below it, and what it is part of has the right type. */
  isSound(path: string): boolean {
    return !this.#tainted.has(path) && ancestorsOf(path).every((parent) => !this.#shapeless.has(parent));
  }

  /** Nothing of the wrong type, missing, too long or unknown was found at a path or below it; numbers may be out of range. */
  isShaped(path: string): boolean {
    return !this.#misshapen.has(path) && ancestorsOf(path).every((parent) => !this.#shapeless.has(parent));
  }

  /** `message` follows the field's name and a colon. */
  error(path: string, code: string, message: string): void {
    for (const place of [path, ...ancestorsOf(path)]) this.#tainted.add(place);
    if (code === "type") this.#shapeless.add(path);
    if (shapeCodes.has(code)) for (const place of [path, ...ancestorsOf(path)]) this.#misshapen.add(place);
    this.#add("error", path, code, message);
  }

  warning(path: string, code: string, message: string): void {
    this.#add("warning", path, code, message);
  }

  /** `hint` says what was perhaps meant. */
  unknownField(path: string, hint: string): void {
    const meaning = this.#unknownField(path);
    if (meaning === "refused") return this.error(path, "unknown-field", `unknown field${hint}`);
    if (meaning === "left-out") return this.warning(path, "unknown-field", `unknown field, left out${hint}`);
    this.closing.push(path);
    this.warning(path, "unknown-in-rule", `unknown field, so nothing passes by the rule${hint}`);
  }

  #add(severity: Issue["severity"], path: string, code: string, message: string): void {
    const text = path === "" ? message : `${renderPath(path)}: ${message}`;
    this.issues.push({ path, code, severity, message: text, position: this.#positionOf(path) });
  }
}

/**
 * What an API server does with a value before it keeps it: prunes unknown fields (each a warning),
 * fills in defaults, validates, and checks the rules. Tells everything that is wrong, not the first thing.
 */
export function admit(schema: object, value: unknown, path: string, found: IssueList): unknown {
  return admitNode(asJsonSchema(schema), value, path, found);
}

function admitNode(schema: JsonSchema, value: unknown, path: string, found: IssueList): unknown {
  const inner = nullableOf(schema);
  if (inner !== undefined) return value === null ? null : admitNode(inner, value, path, found);
  const admitted = admitShape(schema, value, path, found);
  if (schema.rules !== undefined) checkRules(schema.rules, admitted, path, found);
  return admitted;
}

function admitShape(schema: JsonSchema, value: unknown, path: string, found: IssueList): unknown {
  const choices = enumOf(schema);
  if (choices !== undefined) {
    checkChoice(choices, value, path, found);
    return value;
  }
  if (schema["x-kubernetes-int-or-string"] === true) {
    if (typeof value === "string") checkString(schema, value, path, found);
    else if (Number.isInteger(value)) checkNumber(schema, value, path, found);
    else found.error(path, "type", `must be a whole number or text, is ${describe(value)}`);
    return value;
  }
  switch (schema.type) {
    case "object":
      return admitObject(schema, value, path, found);
    case "array":
      return admitArray(schema, value, path, found);
    case "string":
      checkString(schema, value, path, found);
      return value;
    case "integer":
    case "number":
      checkNumber(schema, value, path, found);
      return value;
    case "boolean":
      if (typeof value !== "boolean") found.error(path, "type", `must be true or false, is ${describe(value)}`);
      return value;
    default:
      return value;
  }
}

function admitObject(schema: JsonSchema, value: unknown, path: string, found: IssueList): unknown {
  if (!isRecord(value)) {
    found.error(path, "type", `must be a mapping of fields, is ${describe(value)}`);
    return value;
  }
  const properties = schema.properties ?? {};
  const entries = entriesOf(schema);
  const keepsUnknown = schema["x-kubernetes-preserve-unknown-fields"] === true || schema.additionalProperties === true;
  const admitted: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(value)) {
    const fieldPath = joinPointer(path, key);
    const property = Object.hasOwn(properties, key) ? properties[key] : entries;
    if (property !== undefined) {
      if (field === null && property !== entries && nullableOf(property) === undefined) {
        found.warning(fieldPath, "empty", "is null, which is as if it were left out");
        continue;
      }
      setField(admitted, key, admitNode(property, field, fieldPath, found));
    } else if (keepsUnknown) setField(admitted, key, field);
    else found.unknownField(fieldPath, didYouMean(key, Object.keys(properties)));
  }
  for (const [key, property] of Object.entries(properties)) {
    if (Object.hasOwn(admitted, key)) continue;
    if (property.default !== undefined)
      admitted[key] = admitNode(property, copyJson(property.default), joinPointer(path, key), found);
    else if (schema.required?.includes(key) === true)
      found.error(joinPointer(path, key), "required", `is required${choicesHint(property)}`);
  }
  return admitted;
}

function admitArray(schema: JsonSchema, value: unknown, path: string, found: IssueList): unknown {
  if (!Array.isArray(value)) {
    found.error(path, "type", `must be a list, is ${describe(value)}`);
    return value;
  }
  const { items, minItems, maxItems } = schema;
  if (minItems !== undefined && value.length < minItems)
    found.error(path, "min-items", `must have at least ${minItems} items, has ${value.length}`);
  if (maxItems !== undefined && value.length > maxItems) {
    found.error(path, "max-items", `must have at most ${maxItems} items, has ${value.length}`);
    return value;
  }
  const admitted =
    items === undefined ? value : value.map((item, index) => admitNode(items, item, joinPointer(path, index), found));
  if (schema["x-kubernetes-list-type"] === "set") checkUnique(admitted, path, found);
  if (schema["x-kubernetes-list-type"] === "map")
    checkUniqueKeys(admitted, schema["x-kubernetes-list-map-keys"] as readonly string[], path, found);
  return admitted;
}

function checkUnique(values: readonly unknown[], path: string, found: IssueList): void {
  const seen = new Map<unknown, number>();
  for (const [index, value] of values.entries()) {
    const earlier = seen.get(value);
    if (earlier === undefined) seen.set(value, index);
    else
      found.error(
        joinPointer(path, index),
        "duplicate",
        `${describe(value)} is already at position ${earlier}; keep one`,
      );
  }
}

function checkUniqueKeys(items: readonly unknown[], keys: readonly string[], path: string, found: IssueList): void {
  const seen = new Map<string, number>();
  for (const [index, item] of items.entries()) {
    const at = joinPointer(path, index);
    if (!isRecord(item) || keys.some((key) => !found.isSound(joinPointer(at, key)))) continue;
    const values = keys.map((key) => item[key]);
    const name = JSON.stringify(values);
    const earlier = seen.get(name);
    if (earlier === undefined) seen.set(name, index);
    else
      found.error(
        at,
        "duplicate",
        `${keys.map((key, place) => `${key} ${describe(values[place])}`).join(", ")} is already at position ${earlier}; keep one`,
      );
  }
}

function checkChoice(choices: readonly unknown[], value: unknown, path: string, found: IssueList): void {
  if (choices.includes(value)) return;
  const hint = typeof value === "string" ? didYouMean(value, choices.map(String)) : "";
  found.error(path, "enum", `must be one of ${choices.join(", ")}, is ${describe(value)}${hint}`);
}

function checkString(schema: JsonSchema, value: unknown, path: string, found: IssueList): void {
  if (typeof value !== "string") {
    const hint = typeof value === "number" || typeof value === "boolean" ? "; put it in quotes" : "";
    found.error(path, "type", `must be text, is ${describe(value)}${hint}`);
    return;
  }
  const length = [...value].length;
  if (schema.minLength !== undefined && length < schema.minLength) {
    found.error(
      path,
      "min-length",
      value === "" ? "must not be empty" : `must have at least ${schema.minLength} characters, has ${length}`,
    );
  }
  if (schema.maxLength !== undefined && length > schema.maxLength) {
    found.error(path, "max-length", `must have at most ${schema.maxLength} characters, has ${length}`);
    return;
  }
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, "u").test(value)) {
    found.error(
      path,
      "pattern",
      `must be ${schema.patternMeaning ?? `of the form ${schema.pattern}`}, is ${describe(value)}`,
    );
  }
}

function checkNumber(schema: JsonSchema, value: unknown, path: string, found: IssueList): void {
  if (typeof value !== "number" || (schema.type === "integer" && !Number.isInteger(value))) {
    const hint =
      typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value))
        ? "; leave the quotes off"
        : "";
    found.error(
      path,
      "type",
      `must be a ${schema.type === "integer" ? "whole " : ""}number, is ${describe(value)}${hint}`,
    );
    return;
  }
  if (schema.minimum !== undefined && value < schema.minimum)
    found.error(path, "minimum", `must be at least ${schema.minimum}, is ${value}`);
  if (schema.maximum !== undefined && value > schema.maximum)
    found.error(path, "maximum", `must be at most ${schema.maximum}, is ${value}`);
}

/** All are decided before any is told: one that fails does not keep another from being checked. */
function checkRules(rules: readonly Rule[], value: unknown, path: string, found: IssueList): void {
  const broken = rules.filter((rule) => {
    const isReadable =
      rule.reads.every((read) => found.isSound(`${path}${read}`)) &&
      (rule.shapes ?? []).every((read) => found.isShaped(`${path}${read}`));
    return isReadable && !(rule.holds as (self: unknown) => boolean)(value);
  });
  for (const rule of broken) {
    const explain = rule.explain as ((self: unknown) => string) | undefined;
    found.error(`${path}${rule.field}`, rule.code, explain?.(value) ?? rule.message);
  }
}

function ancestorsOf(path: string): readonly string[] {
  const parents: string[] = [];
  for (let end = path.lastIndexOf("/"); end >= 0; end = path.lastIndexOf("/", end - 1)) {
    parents.push(path.slice(0, end));
    if (end === 0) break;
  }
  return parents;
}

function choicesHint(schema: JsonSchema): string {
  const choices = enumOf(schema);
  return choices === undefined ? "" : `: one of ${choices.join(", ")}`;
}

/** A value in a message: short, and such that text and number look different. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return "empty";
  if (Array.isArray(value)) return "a list";
  if (isRecord(value)) return "a mapping";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function copyJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
