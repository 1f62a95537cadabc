import type { TOptional, TString, TUnsafe } from "typebox";
import { prefixRule } from "../../address/rules.ts";
import { Type } from "../../schema/type.ts";

/** Shapes of Calico's fields: none has a default in the schema, Felix fills them in itself. */

export function flag(description: string): TOptional<ReturnType<typeof Type.Boolean>> {
  return Type.Optional(Type.Boolean({ description }));
}

/** One of some words, in any spelling of capitals, or empty, as Calico takes them. */
export function word(words: readonly string[], description: string): TOptional<TString> {
  const any = words.map((each) => [...each].map(eitherCase).join("")).join("|");
  return Type.Optional(
    Type.String({
      maxLength: 32,
      pattern: `^(${any})?$`,
      patternMeaning: `one of ${words.join(", ")}`,
      description,
    }),
  );
}

function eitherCase(letter: string): string {
  const [lower, upper] = [letter.toLowerCase(), letter.toUpperCase()];
  return lower === upper ? letter : `[${upper}${lower}]`;
}

export function choice<const T extends string>(words: readonly T[], description: string): TOptional<TUnsafe<T>> {
  return Type.Optional(Type.Unsafe<T>({ enum: [...words], description }));
}

export function count(
  description: string,
  minimum = 1,
  maximum = 4294967295,
): TOptional<ReturnType<typeof Type.Integer>> {
  return Type.Optional(Type.Integer({ format: "int64", minimum, maximum, description }));
}

export function duration(description: string): TOptional<TString> {
  return Type.Optional(
    Type.String({
      maxLength: 32,
      pattern: "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))*$",
      patternMeaning: "a duration, like 90s or 1m30s",
      description,
    }),
  );
}

/** A duration, or `Auto` for what the kernel's own connection tracking has. */
export function timeout(description: string): TOptional<TString> {
  return Type.Optional(
    Type.String({
      maxLength: 32,
      pattern: "^(([0-9]+(\\.[0-9]+)?(us|ms|s|m|h))+|Auto)$",
      patternMeaning: "a duration, like 60s, or Auto",
      description,
    }),
  );
}

export function expression(description: string): TOptional<TString> {
  return Type.Optional(Type.String({ maxLength: 4096, description: `${description} A regular expression.` }));
}

export function prefixes(description: string): TOptional<ReturnType<typeof Type.Array<TString>>> {
  return Type.Optional(Type.Array(Type.String({ maxLength: 49, rules: [prefixRule] }), { maxItems: 512, description }));
}
