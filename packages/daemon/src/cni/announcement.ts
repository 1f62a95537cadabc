import { isRecord } from "@bpfleet/base";
/** What the plug-in at the end of a chain says of a pod whose interface was just made. */
export interface Announcement {
  readonly container: string;
  /** Of the pod, inside it. */
  readonly ifname: string;
  readonly pod: { readonly namespace: string; readonly name: string; /** Or empty. */ readonly uid: string };
  /** By which this network namespace knows that of the pod. */
  readonly namespaceId: number | undefined;
  /** With the length of the prefix. */
  readonly addresses: readonly string[];
}

export type Question =
  | { readonly command: "ADD" | "CHECK"; readonly announced: Announcement; readonly timeoutMs: number }
  | { readonly command: "DEL"; readonly container: string; readonly ifname: string }
  /** Those that are still there; `undefined`: it is not known. */
  | { readonly command: "GC"; readonly valid: readonly { container: string; ifname: string }[] | undefined }
  | { readonly command: "STATUS" };

/** `late` and `unjudged`: a policy selects the pod, and is not in force. `unknown`: nobody can tell. */
export interface CniAnswer {
  readonly is: "in-force" | "free" | "late" | "unjudged" | "unknown" | "ready";
  readonly why?: string | undefined;
}

const longestTimeoutMs = 60_000;

/** `undefined` for what no plug-in of this version asks. */
export function parseQuestion(text: string): Question | undefined {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(said) || said["version"] !== 1) return undefined;
  const container = textOf(said, "container");
  const ifname = textOf(said, "ifname");
  switch (said["command"]) {
    case "ADD":
    case "CHECK": {
      const { pod, netnsId, prevResult, timeoutMs } = said;
      if (!isRecord(pod) || textOf(pod, "name") === "") return undefined;
      const announced = {
        container,
        ifname,
        pod: { namespace: textOf(pod, "namespace"), name: textOf(pod, "name"), uid: textOf(pod, "uid") },
        namespaceId: typeof netnsId === "number" && Number.isInteger(netnsId) && netnsId >= 0 ? netnsId : undefined,
        addresses: addressesOf(prevResult),
      };
      const limitMs = typeof timeoutMs === "number" ? Math.min(longestTimeoutMs, Math.max(0, timeoutMs)) : 0;
      return { command: said["command"], announced, timeoutMs: limitMs };
    }
    case "DEL":
      return { command: "DEL", container, ifname };
    case "GC":
      return { command: "GC", valid: attachmentsOf(said["valid"]) };
    case "STATUS":
      return { command: "STATUS" };
    default:
      return undefined;
  }
}

/** All of them: a plug-in that names no interface beside an address means the one that was asked for. */
function addressesOf(result: unknown): readonly string[] {
  const ips = isRecord(result) && Array.isArray(result["ips"]) ? result["ips"] : [];
  const texts = ips.map((ip) => (isRecord(ip) ? textOf(ip, "address") : ""));
  return [...new Set(texts.filter((text) => /^[0-9a-fA-F.:]+\/\d{1,3}$/.test(text)))];
}

function attachmentsOf(valid: unknown): readonly { container: string; ifname: string }[] | undefined {
  if (!Array.isArray(valid)) return undefined;
  return valid.filter(isRecord).map((each) => ({
    container: textOf(each, "containerID"),
    ifname: textOf(each, "ifname"),
  }));
}

function textOf(record: Readonly<Record<string, unknown>>, name: string): string {
  const value = record[name];
  return typeof value === "string" ? value : "";
}
