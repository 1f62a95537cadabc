import { Type } from "./type.ts";
import type { TUnsafe } from "typebox";

/** Shapes that more than one kind uses. */

/** A whole number that the API server keeps in 32 bits. */
export function int32(options: {
  description: string;
  minimum?: number;
  maximum?: number;
  default?: number;
}): ReturnType<typeof Type.Integer> {
  return Type.Integer({ format: "int32", minimum: -2147483648, maximum: 2147483647, ...options });
}

/** A number or a text: exactly the form that structural schemas allow. */
export function intOrString(options: {
  description: string;
  /** Of the number, and of the text; the API server has no other way to look into such a field. */
  minimum?: number;
  maximum?: number;
  pattern?: string;
  patternMeaning?: string;
}): TUnsafe<number | string> {
  return Type.Unsafe<number | string>({
    anyOf: [{ type: "integer" }, { type: "string" }],
    "x-kubernetes-int-or-string": true,
    ...options,
  });
}

export function flag(description: string): ReturnType<typeof Type.Boolean> {
  return Type.Boolean({ default: false, description });
}

export function interfaceName(description: string): ReturnType<typeof Type.String> {
  return Type.String({
    minLength: 1,
    maxLength: 15,
    pattern: "^[^\\x00-\\x20/:\\x7f]+$",
    patternMeaning: "the name of a network interface, without spaces, / and :",
    description,
  });
}

export function descriptionText(): ReturnType<typeof Type.String> {
  return Type.String({ maxLength: 4096, description: "For people." });
}

/** Counters and sizes in a status. */
export function int64(description: string): ReturnType<typeof Type.Integer> {
  return Type.Integer({ format: "int64", description });
}
