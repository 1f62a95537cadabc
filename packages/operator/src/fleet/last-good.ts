import { canonicalJson, isRecord } from "@bpfleet/base";
import type { AnyObject } from "@bpfleet/kube";
import { settingKeys } from "../desired/settings.ts";
import type { Follows } from "./fleet-plan.ts";

/** What was last made of a ConfigMap that could be read: while it cannot, this is kept, by the next leader too. */
export interface LastGood {
  /** Uid of the ConfigMap: one that is made anew is another. */
  readonly of: string;
  readonly data: Readonly<Record<string, string>>;
  readonly follows: Follows;
}

/** Of the ConfigMap that daemons read. */
const lastGoodKey = "made-of.json";

export function lastGoodData({ of, data, follows }: LastGood): Readonly<Record<string, string>> {
  const known = Object.entries(data).filter(([key]) => Object.hasOwn(settingKeys, key));
  return { [lastGoodKey]: canonicalJson({ of, data: Object.fromEntries(known), follows }) };
}

/** `undefined` where nothing is remembered, or nothing of ours. */
export function readLastGood(nodeConfigMap: AnyObject | undefined): LastGood | undefined {
  const text = dataOf(nodeConfigMap)[lastGoodKey];
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || !isRecord(value["follows"])) return undefined;
  const { of, follows } = value;
  const { cilium, calico } = follows;
  if (typeof of !== "string" || typeof cilium !== "boolean" || typeof calico !== "boolean") return undefined;
  return { of, data: textsOf(value["data"]), follows: { cilium, calico } };
}

export function dataOf(configMap: AnyObject | undefined): Readonly<Record<string, string>> {
  return textsOf(configMap?.["data"]);
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
