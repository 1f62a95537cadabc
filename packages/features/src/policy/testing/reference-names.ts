import type { NamePattern, PortMatch } from "../policy.ts";

/* Names of DNS as the documents have them, label by label. */

/** Whether a name, in lower case and without the dot at its end, is what the pattern means. */
export function isCalled({ is, text }: NamePattern, name: string): boolean {
  if (is === "name") return text === name;
  if (isAny({ is, text })) return true;
  const labels = name.split(".");
  if (!text.startsWith("**.")) return areLabels(text.split("."), labels);
  const last = text.slice(3).split(".");
  return labels.length > last.length && areLabels(last, labels.slice(-last.length));
}

function areLabels(patterns: readonly string[], labels: readonly string[]): boolean {
  return (
    patterns.length === labels.length && patterns.every((pattern, at) => isLabel(pattern.split("*"), labels[at] ?? ""))
  );
}

/** Pieces of a label, with any characters in between. */
function isLabel([first = "", ...others]: readonly string[], label: string): boolean {
  if (!label.startsWith(first)) return false;
  const rest = label.slice(first.length);
  if (others.length === 0) return rest === "";
  return Array.from({ length: rest.length + 1 }, (_, at) => rest.slice(at)).some((each) => isLabel(others, each));
}

/** Whether a port that lets a question through lets this one be asked; `undefined`: it is none. */
export function letsAsk(port: PortMatch, name: string | undefined): boolean {
  if (!("dns" in port) || port.dns === undefined) return true;
  return name !== undefined && port.dns.some((pattern) => isCalled(pattern, name));
}

/** Elsewhere nobody reads which names are asked for: a port with a list of them lets nothing through. */
export function asksUnread(match: Extract<PortMatch, { match: "ports" }>): boolean {
  if (match.dns === undefined || match.dns.some(isAny)) return false;
  return match.protocol !== "UDP" || match.from !== 53 || match.to !== 53;
}

function isAny({ is, text }: NamePattern): boolean {
  return is === "pattern" && (text === "*" || text === "**");
}
