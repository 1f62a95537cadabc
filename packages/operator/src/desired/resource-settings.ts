import { isRecord } from "@bpfleet/base";
import { compareQuantities, parseQuantity, type Quantity } from "@bpfleet/kube";
import { isLabelKey, readValue, refuse, type Complain } from "./pod-settings.ts";

export interface Resources {
  readonly requests?: Readonly<Record<string, string>>;
  readonly limits?: Readonly<Record<string, string>>;
}

const parts = ["requests", "limits"] as const;
type Amounts = Record<(typeof parts)[number], Record<string, string>>;

const native = new Set(["cpu", "memory", "ephemeral-storage"]);
const hugePages = /^hugepages-([1-9]\d{0,5}[KMG]i)$/;
const unit = 1_000_000_000n;

/** `requests` and `limits` as a container has them, and as an API server takes them. */
export function parseResources(text: string, complain: Complain): Resources | undefined {
  const value = readValue(text, complain);
  if (value === undefined) return undefined;
  if (!isRecord(value)) return refuse(complain, "must be requests and limits, as a container has them");
  const wrong = Object.keys(value)
    .filter((name) => name !== "requests" && name !== "limits")
    .map((name) => `${name} is neither requests nor limits`);
  const read: Amounts = { requests: {}, limits: {} };
  for (const part of parts) {
    const amounts = value[part] ?? {};
    if (!isRecord(amounts)) wrong.push(`${part} must be resources and their amounts`);
    else
      for (const [name, amount] of Object.entries(amounts)) {
        const words = typeof amount === "number" ? String(amount) : amount;
        const quantity = typeof words === "string" && !words.startsWith("-") ? parseQuantity(words) : undefined;
        if (!isResource(name)) wrong.push(`${part}: ${JSON.stringify(name)} is no resource`);
        else if (quantity === undefined || typeof words !== "string")
          wrong.push(`${part}.${name} must be an amount as 100m or 64Mi, is ${JSON.stringify(amount)}`);
        else {
          const why = whyNotSo(name, quantity);
          if (why !== undefined) wrong.push(`${part}.${name} ${why}, is ${JSON.stringify(amount)}`);
          read[part][name] = words;
        }
      }
  }
  wrong.push(...whyNotTogether(read));
  for (const message of wrong) complain(message);
  if (wrong.length > 0) return undefined;
  return Object.fromEntries(Object.entries(read).filter(([, amounts]) => Object.keys(amounts).length > 0));
}

/** Those of devices have a domain, which is not that of Kubernetes. */
function isResource(name: string): boolean {
  if (native.has(name) || hugePages.test(name)) return true;
  return name.includes("/") && isLabelKey(name) && !/^requests\.|(?:^|\.)kubernetes\.io\//.test(name);
}

function whyNotSo(name: string, { nanos }: Quantity): string | undefined {
  const [, page] = hugePages.exec(name) ?? [];
  const size = page === undefined ? undefined : parseQuantity(page);
  if (size !== undefined && nanos % size.nanos !== 0n) return `must be a multiple of ${page}`;
  if (!native.has(name) && nanos % unit !== 0n) return "must be a whole number: it is not divided";
  return undefined;
}

function whyNotTogether({ requests, limits }: Amounts): readonly string[] {
  const names = Object.keys({ ...requests, ...limits });
  const wrong = names.flatMap((name): string | readonly string[] => {
    const [asked, limit] = [requests[name], limits[name]];
    if (asked === undefined || (limit === undefined && native.has(name))) return [];
    if (limit === undefined) return `requests.${name} needs the same limit: nobody gets more of it than he asks for`;
    const order = compareQuantities(parseQuantity(asked) ?? { nanos: 0n }, parseQuantity(limit) ?? { nanos: 0n });
    if (order > 0) return `requests.${name} is more than its limit of ${limit}`;
    return order < 0 && !native.has(name) ? `requests.${name} must be its limit of ${limit}` : [];
  });
  const isHuge = names.some((name) => hugePages.test(name));
  const hasUsual = names.includes("cpu") || names.includes("memory");
  return isHuge && !hasUsual ? [...wrong, "hugepages need cpu or memory beside them"] : wrong;
}
