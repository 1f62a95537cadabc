import type { Static, TObject } from "typebox";
import type { Rule } from "../schema/json-schema.ts";
import { Type } from "../schema/type.ts";

const labelValue = {
  maxLength: 63,
  pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
  patternMeaning: "a label's value: letters, digits, -, _ and ., and begin and end with a letter or digit",
} as const;

const listed = ["In", "NotIn"];

const valuesRule: Rule = {
  cel: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
  holds: (self: LabelRequirement) => listed.includes(self.operator) === (self.values ?? []).length > 0,
  reads: ["/operator", "/values"],
  field: "/values",
  code: "invalid",
  message: "is required for operators In and NotIn, and must be left out for Exists and DoesNotExist",
};

const requirementSchema = Type.Object(
  {
    key: Type.String({ minLength: 1, maxLength: 317, description: "Name of the label." }),
    operator: Type.Enum(["In", "NotIn", "Exists", "DoesNotExist"], {
      description: "How the label is compared. NotIn also holds where the label is missing.",
    }),
    values: Type.Optional(
      Type.Array(Type.String(labelValue), {
        maxItems: 256,
        description: "Values for In and NotIn.",
        "x-kubernetes-list-type": "atomic",
      }),
    ),
  },
  { rules: [valuesRule] },
);

const selectorFields = {
  matchLabels: Type.Optional(
    Type.Record(Type.String(), Type.String(labelValue), {
      description: "Labels that must be there with these values.",
    }),
  ),
  matchExpressions: Type.Optional(
    Type.Array(requirementSchema, {
      maxItems: 64,
      description: "Further requirements; all must hold.",
      "x-kubernetes-list-type": "atomic",
    }),
  ),
};

/** metav1.LabelSelector. An empty one selects everything. */
export function labelSelector(description: string): TObject<typeof selectorFields> {
  return Type.Object(selectorFields, { description });
}

type LabelRequirement = Static<typeof requirementSchema>;
export type LabelSelector = Static<TObject<typeof selectorFields>>;

export function matchesLabels(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  return whyNoMatch(selector, labels) === undefined;
}

/** The first requirement that the labels do not meet, in words; `undefined` when they meet all. */
export function whyNoMatch(
  { matchLabels = {}, matchExpressions = [] }: LabelSelector,
  labels: Readonly<Record<string, string>>,
): string | undefined {
  const said = (key: string): string => (Object.hasOwn(labels, key) ? `${key}=${labels[key]}` : `no label ${key}`);
  for (const [key, value] of Object.entries(matchLabels)) {
    if (!Object.hasOwn(labels, key) || labels[key] !== value) return `it has ${said(key)}, not ${key}=${value}`;
  }
  for (const { key, operator, values = [] } of matchExpressions) {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    const isIn = value !== undefined && values.includes(value);
    const holds = { In: isIn, NotIn: !isIn, Exists: value !== undefined, DoesNotExist: value === undefined }[operator];
    if (!holds)
      return `it has ${said(key)}; asked for is ${key} ${operator}${values.length === 0 ? "" : ` ${values.join(", ")}`}`;
  }
  return undefined;
}
