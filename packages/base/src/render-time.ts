/** RFC 3339 in UTC with whole seconds, as the API server writes times: `2026-11-21T18:00:00Z`. */
export function renderTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replace(/\.\d+Z$/, "Z");
}
