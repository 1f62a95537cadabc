/**
 * A schema as plain data, for the code that walks one. TypeBox builds it (its types are for Static);
 * only what structural schemas can say is in here.
 */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>;
  readonly anyOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly rules?: readonly Rule[];
  readonly changeRules?: readonly ChangeRule[];
  /** What a pattern asks for, in words that follow "must be". */
  readonly patternMeaning?: string;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly [extension: `x-kubernetes-${string}`]: unknown;
}

/**
 * What no single field can say, once for the API server (CEL) and once for us. The cluster suite holds
 * that both decide alike.
 */
export interface Rule {
  /** True for a value that is fine; `self` is the value that carries the rule. */
  readonly cel: string;
  readonly holds: (self: never) => boolean;
  /** Pointers to what `holds` looks at; the rule is left alone when something is wrong with one of them. */
  readonly reads: readonly string[];
  /** Pointers to what it looks at otherwise: only what is missing or of the wrong type there keeps it from deciding. */
  readonly shapes?: readonly string[];
  /** Pointer from the value that carries the rule to the field at fault, `""` for itself. */
  readonly field: string;
  readonly code: "required" | "invalid" | "forbidden";
  /** Follows the field's name: `needs type xdp`. */
  readonly message: string;
  /** The message with the value at fault, where we can say more than CEL. */
  readonly explain?: (self: never) => string;
}

/** What a change may not do; only the API server knows what was before. */
export interface ChangeRule extends Pick<Rule, "field" | "code" | "message"> {
  /** True for a change that is fine; `self` is the value that carries the rule, `oldSelf` the one before. */
  readonly cel: string;
}

/** A field that stays as it was made. */
export const neverChanges: ChangeRule = {
  cel: "self == oldSelf",
  field: "",
  code: "forbidden",
  message: "cannot be changed; make another object",
};

export function asJsonSchema(schema: object): JsonSchema {
  return schema as JsonSchema;
}

/** `Type.Union([T, Type.Null()])`: the T, or undefined. */
export function nullableOf(schema: JsonSchema): JsonSchema | undefined {
  const [first, second, ...rest] = schema.anyOf ?? [];
  if (first === undefined || second === undefined || rest.length > 0) return undefined;
  if (second.type === "null") return first;
  return first.type === "null" ? second : undefined;
}

/** A union of literals as one list of values, or undefined. */
export function enumOf(schema: JsonSchema): readonly unknown[] | undefined {
  if (schema.enum !== undefined) return schema.enum;
  if (schema.const !== undefined) return [schema.const];
  if (schema.anyOf === undefined || schema.anyOf.length === 0) return undefined;
  const values = schema.anyOf.map((branch) => branch.const);
  return values.includes(undefined) ? undefined : values;
}

/** What values of a map have to be: of `Type.Record`, or of `additionalProperties`. */
export function entriesOf(schema: JsonSchema): JsonSchema | undefined {
  const patterns = Object.values(schema.patternProperties ?? {});
  if (patterns.length === 1) return patterns[0];
  return typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined;
}
