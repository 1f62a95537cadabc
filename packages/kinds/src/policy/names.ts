import type { NamePattern } from "@bpfleet/features";

/** A name as DNS compares it. */
export function toName(text: string): NamePattern {
  return { is: "name", text: normal(text) };
}

export function toNamePattern(text: string): NamePattern {
  return text.includes("*") ? { is: "pattern", text: normal(text) } : toName(text);
}

/** Whether a name of DNS is meant; the reference for what the data plane does. */
export function matchesName(pattern: NamePattern, name: string): boolean {
  const asked = normal(name);
  if (pattern.is === "name") return asked === pattern.text;
  if (pattern.text === "*" || pattern.text === "**") return true;
  const labels = asked.split(".");
  const wanted = pattern.text.split(".");
  if (wanted[0] !== "**") return labels.length === wanted.length && endsAlike(labels, wanted);
  return labels.length >= wanted.length && endsAlike(labels.slice(1 - wanted.length), wanted.slice(1));
}

function endsAlike(labels: readonly string[], wanted: readonly string[]): boolean {
  return wanted.every((pattern, index) => matchesLabel(pattern, labels[index] ?? ""));
}

/** Greedy from the left: each part between stars is looked for after the one before it. */
function matchesLabel(pattern: string, label: string): boolean {
  const [head = "", ...parts] = pattern.split("*");
  const tail = parts.pop();
  if (tail === undefined) return label === pattern;
  if (!label.startsWith(head) || label.length < head.length + tail.length || !label.endsWith(tail)) return false;
  let at = head.length;
  for (const part of parts) {
    const found = label.indexOf(part, at);
    if (found < 0 || found + part.length > label.length - tail.length) return false;
    at = found + part.length;
  }
  return true;
}

function normal(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}
