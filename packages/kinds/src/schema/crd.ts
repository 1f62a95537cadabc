import type { Column, Kind } from "../kind.ts";
import { toStructural } from "./structural.ts";

interface CrdSource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly scope: Kind["scope"];
  readonly description: string;
  readonly deprecation?: string | undefined;
  readonly columns: readonly Column[];
  readonly specSchema?: object | undefined;
  readonly specsSchema?: object | undefined;
  readonly statusSchema?: object | undefined;
}

/** The CustomResourceDefinition. A status that is written has its schema in it: without one a status apply answers 500. */
export function renderCrd(source: CrdSource): Record<string, unknown> {
  const { group, version, kind, plural, singular, shortNames, scope, description } = source;
  const { specSchema, specsSchema, statusSchema, deprecation } = source;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${group}`,
      labels: { "app.kubernetes.io/part-of": "bpfleet" },
      ...(deprecation === undefined
        ? {}
        : { annotations: { "fos1.io/deprecated": "true", "fos1.io/deprecation-message": deprecation } }),
    },
    spec: {
      group,
      scope,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular,
        ...(shortNames.length > 0 ? { shortNames } : {}),
        categories: ["bpfleet"],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          ...(deprecation === undefined
            ? {}
            : { deprecated: true, deprecationWarning: `${group}/${version} ${kind} is deprecated; ${deprecation}` }),
          ...(statusSchema === undefined ? {} : { subresources: { status: {} } }),
          additionalPrinterColumns: source.columns.map(renderColumn),
          schema: {
            openAPIV3Schema: {
              type: "object",
              description,
              ...(specSchema === undefined || specsSchema !== undefined ? {} : { required: ["spec"] }),
              ...(specsSchema === undefined ? {} : { "x-kubernetes-validations": [specOrSpecs] }),
              properties: {
                apiVersion: { type: "string" },
                kind: { type: "string" },
                metadata: { type: "object" },
                ...(specSchema === undefined ? {} : { spec: toStructural(specSchema) }),
                ...(specsSchema === undefined ? {} : { specs: toStructural(specsSchema) }),
                ...(statusSchema === undefined ? {} : { status: toStructural(statusSchema) }),
              },
            },
          },
        },
      ],
    },
  };
}

const specOrSpecs = {
  rule: "has(self.spec) || has(self.specs)",
  message: "is required",
  reason: "FieldValueRequired",
  fieldPath: ".spec",
};

function renderColumn(column: Column): Record<string, unknown> {
  const { name, jsonPath, type, priority, description } = column;
  return { name, type, jsonPath, description, ...(priority === 0 ? {} : { priority }) };
}
