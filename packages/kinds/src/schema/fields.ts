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
export function intOrString(options: { description: string }): TUnsafe<number | string> {
  return Type.Unsafe<number | string>({
    anyOf: [{ type: "integer" }, { type: "string" }],
    "x-kubernetes-int-or-string": true,
    ...options,
  });
}

export function flag(description: string): ReturnType<typeof Type.Boolean> {
  return Type.Boolean({ default: false, description });
}
