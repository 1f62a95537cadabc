import { ok, refused } from "@bpfleet/base";
import type { Result } from "@bpfleet/base";

/** `LabelSelector` of the API: all of it must hold; an empty one holds for everything. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
  readonly matchExpressions?: readonly LabelExpression[] | undefined;
}

export interface LabelExpression {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values?: readonly string[] | undefined;
}

/** One condition of a selector as `kubectl -l` writes it. */
export interface Requirement {
  readonly key: string;
  readonly operator: "in" | "notin" | "exists" | "!" | "gt" | "lt";
  readonly values: readonly string[];
}

type Labels = Readonly<Record<string, string>>;

const operators = { In: "in", NotIn: "notin", Exists: "exists", DoesNotExist: "!" } as const;

export function requirementsOf(selector: LabelSelector): readonly Requirement[] {
  const equal = Object.entries(selector.matchLabels ?? {}).map(([key, value]): Requirement => ({
    key,
    operator: "in",
    values: [value],
  }));
  const others = (selector.matchExpressions ?? []).map(({ key, operator, values }): Requirement => ({
    key,
    operator: operators[operator],
    values: values ?? [],
  }));
  return [...equal, ...others];
}

export function matchesSelector(selector: LabelSelector, labels: Labels = {}): boolean {
  return matchesRequirements(requirementsOf(selector), labels);
}

export function matchesRequirements(requirements: readonly Requirement[], labels: Labels): boolean {
  return requirements.every((requirement) => holds(requirement, labels));
}

function holds({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "exists":
      return value !== undefined;
    case "!":
      return value === undefined;
    case "in":
      return value !== undefined && values.includes(value);
    case "notin":
      return value === undefined || !values.includes(value);
    case "gt":
    case "lt": {
      if (value === undefined || !/^-?\d+$/.test(value)) return false;
      const [limit = "0"] = values;
      return operator === "gt" ? BigInt(value) > BigInt(limit) : BigInt(value) < BigInt(limit);
    }
  }
}

/** `app=web,tier in (a,b),!old`: for the parameter `labelSelector`. */
export function renderSelector(selector: LabelSelector): string {
  return renderRequirements(requirementsOf(selector));
}

export function renderRequirements(requirements: readonly Requirement[]): string {
  return requirements
    .map(({ key, operator, values }) => {
      switch (operator) {
        case "exists":
          return key;
        case "!":
          return `!${key}`;
        case "in":
          return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(",")})`;
        case "notin":
          return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${values.join(",")})`;
        case "gt":
          return `${key}>${values[0]}`;
        case "lt":
          return `${key}<${values[0]}`;
      }
    })
    .join(",");
}

const keyPattern = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?/;

/** Reads what people give to `-l`. */
export function parseSelector(text: string): Result<readonly Requirement[]> {
  const requirements: Requirement[] = [];
  let rest = text.trim();
  while (rest !== "") {
    const taken = takeRequirement(rest);
    if (taken === undefined)
      return refused([
        {
          path: "",
          code: "format",
          severity: "error",
          message: `read label selector \`${text}\`: not understood from \`${rest}\` on; write key=value, key in (a,b) or !key, with commas between`,
        },
      ]);
    requirements.push(taken.requirement);
    rest = taken.rest;
  }
  return ok(requirements);
}

function takeRequirement(text: string): { readonly requirement: Requirement; readonly rest: string } | undefined {
  const isAbsent = text.startsWith("!");
  const body = isAbsent ? text.slice(1).trimStart() : text;
  const key = keyPattern.exec(body)?.[0];
  if (key === undefined) return undefined;
  const after = body.slice(key.length).trimStart();
  const done = (operator: Requirement["operator"], values: readonly string[], left: string) => {
    const rest = left.trimStart();
    if (rest !== "" && !rest.startsWith(",")) return undefined;
    const next = rest.slice(1).trim();
    return rest !== "" && next === "" ? undefined : { requirement: { key, operator, values }, rest: next };
  };
  if (isAbsent) return done("!", [], after);
  if (after === "" || after.startsWith(",")) return done("exists", [], after);
  const set = /^(in|notin)\s*\(([^()]*)\)/.exec(after);
  if (set !== null) {
    const values = (set[2] ?? "").split(",").map((value) => value.trim());
    return values.every(isLabelValue) ? done(set[1] as "in" | "notin", values, after.slice(set[0].length)) : undefined;
  }
  const single = /^(==|=|!=|>|<)\s*([^\s,()]*)/.exec(after);
  if (single === null) return undefined;
  const [whole, sign = "=", value = ""] = single;
  const operator = ({ "!=": "notin", ">": "gt", "<": "lt" } as const)[sign] ?? "in";
  if ((operator === "gt" || operator === "lt") && !/^-?\d+$/.test(value)) return undefined;
  return isLabelValue(value) || operator === "gt" || operator === "lt"
    ? done(operator, [value], after.slice(whole.length))
    : undefined;
}

function isLabelValue(value: string): boolean {
  return value === "" || (value.length <= 63 && /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/.test(value));
}

/** `metadata.name=a,spec.nodeName!=b`; the separators inside of values are escaped as the server expects. */
export function renderFieldSelector(
  equal: Readonly<Record<string, string>>,
  unequal: Readonly<Record<string, string>> = {},
): string {
  const escaped = (value: string): string => value.replaceAll(/[\\,=]/g, String.raw`\$&`);
  return [
    ...Object.entries(equal).map(([field, value]) => `${field}=${escaped(value)}`),
    ...Object.entries(unequal).map(([field, value]) => `${field}!=${escaped(value)}`),
  ].join(",");
}
