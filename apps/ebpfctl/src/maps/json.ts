/** JSON in which whole numbers of any size keep all their digits. */

interface ExactJson {
  rawJSON(text: string): unknown;
  parse(text: string, revive: (key: string, value: unknown, context: { readonly source?: string }) => unknown): unknown;
}
const exact = JSON as unknown as ExactJson;

export function renderJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_, each: unknown) => (typeof each === "bigint" ? exact.rawJSON(`${each}`) : each),
    indent,
  );
}

/** `undefined` when the text is no JSON. */
export function parseJson(text: string): { readonly value: unknown } | undefined {
  try {
    const value = exact.parse(text, (_, each, { source }) =>
      typeof each === "number" && !Number.isSafeInteger(each) && source !== undefined && /^-?\d+$/.test(source)
        ? BigInt(source)
        : each,
    );
    return { value };
  } catch {
    return undefined;
  }
}
