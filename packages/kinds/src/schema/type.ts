import type { Type as TypeBox } from "typebox";

/**
 * TypeBox's builders, with its types, for the shapes that a structural schema can have. TypeBox itself is
 * some 500 modules, which cost each process 0.2 s and 20 MB at its start; type.test.ts holds that the
 * schemas are the same.
 */
type Builders = Pick<
  typeof TypeBox,
  | "Any"
  | "Array"
  | "Boolean"
  | "Enum"
  | "Integer"
  | "Literal"
  | "Null"
  | "Number"
  | "Object"
  | "Optional"
  | "Record"
  | "String"
  | "Union"
  | "Unknown"
  | "Unsafe"
>;

type Options = Readonly<Record<string, unknown>>;

const optionals = new WeakSet<object>();

const builders = {
  Any: (options?: Options) => ({ ...options }),
  Unknown: (options?: Options) => ({ ...options }),
  Unsafe: (schema: object) => ({ ...schema }),
  Null: (options?: Options) => ({ type: "null", ...options }),
  Boolean: (options?: Options) => ({ type: "boolean", ...options }),
  Integer: (options?: Options) => ({ type: "integer", ...options }),
  Number: (options?: Options) => ({ type: "number", ...options }),
  String: (options?: Options) => ({ type: "string", ...options }),
  Literal: (value: unknown, options?: Options) => ({ type: typeof value, const: value, ...options }),
  Enum: (values: readonly unknown[], options?: Options) => ({ enum: [...values], ...options }),
  Union: (branches: readonly object[], options?: Options) => ({ anyOf: [...branches], ...options }),
  Array: (items: object, options?: Options) => ({ type: "array", items, ...options }),
  /** Only for keys that are any text. */
  Record: (_: object, entries: object, options?: Options) => ({
    type: "object",
    patternProperties: { "^.*$": entries },
    ...options,
  }),
  Object: (properties: Readonly<Record<string, object>>, options?: Options) => {
    const required = Object.keys(properties).filter((name) => !optionals.has(properties[name] ?? {}));
    return { type: "object", ...(required.length > 0 ? { required } : {}), properties, ...options };
  },
  Optional: (schema: object) => {
    const optional = { ...schema };
    optionals.add(optional);
    return optional;
  },
};

export const Type = builders as unknown as Builders;
