import type { NodeReport } from "../report.ts";

export function encodeReport(report: NodeReport): string {
  return JSON.stringify(report);
}

/** Throws a SyntaxError for anything that is no report. */
export function parseReport(text: string): NodeReport {
  const value = JSON.parse(text) as Partial<NodeReport> | null;
  if (typeof value !== "object" || value === null || !Array.isArray(value.objects) || !Array.isArray(value.broken)) {
    throw new SyntaxError("the answer is no report of an agent");
  }
  return value as NodeReport;
}
