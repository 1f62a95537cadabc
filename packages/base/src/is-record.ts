/** Whether fields can be read of it by name: of an object of JSON, whose fields nobody has looked at. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
