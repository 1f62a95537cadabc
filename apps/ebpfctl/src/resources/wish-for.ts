import type { ObjectReport } from "@bpfleet/agent";
import { Failure } from "../failure.ts";
import { findByPath, renderValue } from "../output/json-path.ts";

/** What is waited for, as `kubectl wait --for` says it. */
export type Wish =
  | { readonly for: "delete" }
  | { readonly for: "create" }
  | { readonly for: "condition"; readonly type: string; readonly status: string }
  | { readonly for: "jsonpath"; readonly path: string; readonly value: string | undefined };

/** `condition=Ready`, `condition=Ready=False`, `delete`, `create`, `jsonpath={.status.state}=Active`. */
export function parseWish(text: string): Wish {
  const lower = text.toLowerCase();
  if (lower === "delete") return { for: "delete" };
  if (lower === "create") return { for: "create" };
  const [, kind = "", rest = ""] = /^([a-z]+)=(.+)$/is.exec(text) ?? [];
  if (kind === "condition") {
    const [type = "", status = "true", ...more] = rest.split("=");
    if (type !== "" && more.length === 0) return { for: "condition", type, status };
  }
  if (kind === "jsonpath") {
    const [, path, , value] = /^'?(\{[^]*?\}|[^=]+)'?(=([^]+))?$/.exec(rest) ?? [];
    if (path !== undefined) return { for: "jsonpath", path, value };
  }
  throw new Failure(
    `unrecognized condition: ${JSON.stringify(text)}; give condition=TYPE, condition=TYPE=STATUS, delete, create or jsonpath={PATH}=VALUE`,
  );
}

interface Condition {
  readonly type?: unknown;
  readonly status?: unknown;
  readonly observedGeneration?: unknown;
}

/** Whether the object is as wished; `undefined`: there is no such object. */
export function isMet(wish: Wish, report: ObjectReport | undefined): boolean {
  if (wish.for === "delete") return report === undefined;
  if (report === undefined) return false;
  if (wish.for === "create") return true;
  const { metadata, status } = report.object;
  if (wish.for === "jsonpath") {
    const found = findByPath(wish.path, report.object);
    return found.length > 0 && (wish.value === undefined || found.some((each) => renderValue(each) === wish.value));
  }
  const { conditions = [] } = (status ?? {}) as { readonly conditions?: readonly Condition[] };
  const { type, status: wanted } = wish;
  const same = (a: unknown, b: string): boolean => String(a).toLowerCase() === b.toLowerCase();
  const found = conditions.find((each) => same(each.type, type));
  // What was said of an earlier generation says nothing of this one.
  const isOld = typeof found?.observedGeneration === "number" && found.observedGeneration < (metadata.generation ?? 0);
  return found !== undefined && !isOld && same(found.status, wanted);
}
