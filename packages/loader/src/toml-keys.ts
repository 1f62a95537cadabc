/** `keys`: all that there can be; any when left out. */
export function table(value: unknown, key: string, keys?: readonly string[]): Record<string, unknown> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new SyntaxError(`${key}: must be a table`);
  const unknown = Object.keys(value).find((each) => keys?.includes(each) === false);
  if (unknown !== undefined)
    throw new SyntaxError(`${key === "" ? "" : `${key}.`}${unknown}: is no key here; there are ${keys?.join(", ")}`);
  return value as Record<string, unknown>;
}

export function textOf(from: Record<string, unknown>, name: string, key: string, usual?: string): string {
  const value = from[name] ?? usual;
  if (value === undefined) throw new SyntaxError(`${key}: is missing`);
  if (typeof value !== "string" || value === "") throw new SyntaxError(`${key}: must be text`);
  return value;
}
