import { isIPv4, isIPv6 } from "node:net";
import { isRecord } from "@bpfleet/base";
import { readYaml } from "@bpfleet/kinds";
import { checkPolicyText } from "@bpfleet/oci/policy-text";

/** Tells what is wrong with a value of a setting. */
export type Complain = (message: string) => void;

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
  readonly tolerationSeconds?: number;
}

const operators = ["Exists", "Equal"];
const effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const tolerationFields = ["key", "operator", "value", "effect", "tolerationSeconds"];
const labelName = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/;
/** Chosen by ourselves: there are images for no other. */
const systemLabel = "kubernetes.io/os";

/** A list as a pod's spec has it, in YAML or JSON; `undefined` where anything is wrong with it. */
export function parseTolerations(text: string, complain: Complain): readonly Toleration[] | undefined {
  const value = readValue(text, complain);
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) return refuse(complain, "must be a list of tolerations, as a pod has them");
  const read = value.map((each: unknown, at) => {
    const wrong = whyNoToleration(each);
    if (wrong !== undefined) complain(`[${at}] ${wrong}`);
    return wrong === undefined ? (each as Toleration) : undefined;
  });
  return read.includes(undefined) ? undefined : (read as readonly Toleration[]);
}

/** Labels that a node must have, beside that of Linux. */
export function parseNodeSelector(text: string, complain: Complain): Readonly<Record<string, string>> | undefined {
  const value = readValue(text, complain);
  if (value === undefined) return undefined;
  if (!isRecord(value)) return refuse(complain, "must be labels and their values: pool: edge");
  const wrong = Object.entries(value).flatMap(([key, label]) => {
    if (!isLabelKey(key)) return `${JSON.stringify(key)} is no label`;
    if (typeof label !== "string" || !labelValue.test(label))
      return `${key} must be the text of a label, is ${JSON.stringify(label)}${typeof label === "string" ? "" : "; put it in quotes"}`;
    return key === systemLabel && label !== "linux" ? `${key} must be linux` : [];
  });
  for (const message of wrong) complain(message);
  return wrong.length > 0 ? undefined : (value as Readonly<Record<string, string>>);
}

/** An address of the node on which something is served; empty stands for all that it has. */
export function parseBindAddress(text: string, complain: Complain): string | undefined {
  if (isIPv4(text) || isIPv6(text)) return text;
  return refuse(complain, `must be an address as 127.0.0.1 or ::1, is ${JSON.stringify(text)}`);
}

/** A folder of the host. */
export function parseFolder(text: string, complain: Complain): string | undefined {
  const isPlain = /^(?:\/[\w@.+-]+)+$/.test(text) && !text.split("/").some((step) => step === "." || step === "..");
  return isPlain ? text : refuse(complain, `must be the path of a folder from the root, is ${JSON.stringify(text)}`);
}

/** No longer than kubelets wait for a sandbox. */
export function parseTimeoutMs(text: string, complain: Complain): number | undefined {
  const isNumber = /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 60_000;
  return isNumber ? Number(text) : refuse(complain, `must be milliseconds from 1 to 60000, is ${JSON.stringify(text)}`);
}

function whyNoToleration(value: unknown): string | undefined {
  if (!isRecord(value)) return "must be a toleration";
  const unknown = Object.keys(value).find((name) => !tolerationFields.includes(name));
  if (unknown !== undefined) return `has ${unknown}, which a toleration has not`;
  const { key, operator = "Equal", value: wanted, effect, tolerationSeconds } = value;
  if (!operators.includes(String(operator))) return `operator must be one of ${operators.join(", ")}`;
  if (key !== undefined && (typeof key !== "string" || !isLabelKey(key))) return "key must be that of a taint";
  if (key === undefined && operator !== "Exists") return "without a key its operator must be Exists";
  if (wanted !== undefined && (operator === "Exists" || typeof wanted !== "string" || !labelValue.test(wanted)))
    return operator === "Exists" ? "has a value, which operator Exists has not" : "value must be that of a taint";
  if (effect !== undefined && !effects.includes(String(effect))) return `effect must be one of ${effects.join(", ")}`;
  if (tolerationSeconds !== undefined && (!Number.isSafeInteger(tolerationSeconds) || effect !== "NoExecute"))
    return "tolerationSeconds must be a whole number, and goes with effect NoExecute only";
  return undefined;
}

const policyFields = ["apiVersion", "kind", "trustedRoot", "default", "rules"];

/** All of it but the files that it names, which are on the nodes. */
export function parsePolicyText(text: string, complain: Complain): string | undefined {
  const value = readValue(text, complain);
  if (value === undefined) return undefined;
  if (!isRecord(value) || value["apiVersion"] !== "bpfleet.io/v1alpha1" || value["kind"] !== "ImagePolicy")
    return refuse(complain, "must begin with apiVersion: bpfleet.io/v1alpha1 and kind: ImagePolicy");
  const unknown = Object.keys(value).filter((key) => !policyFields.includes(key));
  for (const key of unknown) complain(`${key} is no field of an ImagePolicy; there are ${policyFields.join(", ")}`);
  if (unknown.length > 0) return undefined;
  const issues = checkPolicyText(text, "image-policy.yaml");
  for (const { message, position } of issues) complain(`line ${position?.line ?? 1}: ${message}`);
  return issues.length > 0 ? undefined : text;
}

/** Names of Secrets, each once. */
export function parsePullSecrets(text: string, complain: Complain): readonly string[] | undefined {
  const names = text.split(/[\s,]+/).filter((name) => name !== "");
  const wrong = [
    ...names.filter((name) => !isDnsName(name)).map((name) => `${JSON.stringify(name)} is no name of a Secret`),
    ...[...new Set(names.filter((name, at) => names.indexOf(name) !== at))].map((name) => `${name} is there twice`),
  ];
  for (const message of wrong) complain(message);
  return wrong.length > 0 ? undefined : names;
}

/** As objects are called, and what stands before the `/` of a label. */
function isDnsName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/.test(text);
}

/** `NAME`, or `DOMAIN/NAME`. */
export function isLabelKey(text: string): boolean {
  const [name = "", ...domains] = text.split("/").toReversed();
  return labelName.test(name) && domains.length <= 1 && domains.every(isDnsName);
}

export function readValue(text: string, complain: Complain): unknown {
  const [document, second] = readYaml(text);
  const faults = document?.faults ?? [];
  for (const { message } of faults) complain(`cannot be read: ${message}`);
  if (second !== undefined) complain("must be one document of YAML");
  return faults.length > 0 || second !== undefined ? undefined : (document?.value ?? {});
}

export function refuse(complain: Complain, message: string): undefined {
  complain(message);
  return undefined;
}
