import { refusal, unanswered } from "@bpfleet/kube";
import type { ApiObject } from "@bpfleet/kube";
import type { ListEnd } from "../kube-client.ts";
import { Breather } from "./breathe.ts";
import { ListCutter } from "./list-cutter.ts";
import type { Incoming } from "./transport.ts";
import { saidBy } from "./transport.ts";

interface WireList {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly items?: unknown;
  readonly metadata?: {
    readonly resourceVersion?: unknown;
    readonly continue?: unknown;
    readonly remainingItemCount?: unknown;
  };
}

/** Reads a list as it comes in, item by item, so that the loop is never held for long however large it is. */
export async function readList(
  doing: string,
  incoming: Incoming,
  onItems: (items: readonly ApiObject[]) => void,
): Promise<ListEnd> {
  const cutter = new ListCutter();
  const breather = new Breather();
  const items: Partial<ApiObject>[] = [];
  try {
    for await (const chunk of incoming.body as AsyncIterable<Buffer>) {
      for (const text of cutter.cut(chunk)) {
        items.push(JSON.parse(text) as Partial<ApiObject>);
        if (breather.isDue) await breather.breathe();
      }
    }
    const list = JSON.parse(cutter.rest()) as WireList;
    if (list.kind === "Status") throw refusal(doing, incoming.status, list);
    onItems(nameItems(items, list));
    return endOf(list);
  } catch (cause) {
    if (cause instanceof Error && cause.name === "ApiError") throw cause;
    if (cause instanceof Error && cause.name === "AbortError") throw cause;
    if (cause instanceof Error && cause.name === "BodyTimeoutError") incoming.suspect();
    throw unanswered(doing, `the answer broke off or cannot be read (${saidBy(cause)})`, cause);
  }
}

/** Items of built-in kinds come without the two words that every object has elsewhere. */
function nameItems(items: readonly Partial<ApiObject>[], list: WireList): readonly ApiObject[] {
  const apiVersion = String(list.apiVersion);
  const kind = String(list.kind).replace(/List$/, "");
  return items.map((item) => (item.kind === undefined ? { apiVersion, kind, ...item } : item) as ApiObject);
}

function endOf({ metadata }: WireList): ListEnd {
  const next = metadata?.continue;
  const remaining = metadata?.remainingItemCount;
  return {
    resourceVersion: typeof metadata?.resourceVersion === "string" ? metadata.resourceVersion : "",
    ...(typeof next === "string" && next !== "" ? { next } : {}),
    ...(typeof remaining === "number" ? { remaining } : {}),
  };
}
