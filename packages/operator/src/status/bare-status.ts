const conditionFields = ["type", "status", "reason", "message", "lastTransitionTime"];

/**
 * What of a status every definition of its kind has a place for: conditions, as Kubernetes has always had them. Where
 * the CRD is of others, an API server refuses to apply the rest.
 */
export function bareStatus(status: unknown): { readonly conditions: readonly object[] } {
  const { conditions } = (status ?? {}) as { readonly conditions?: unknown };
  const items: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
  return {
    conditions: items.map((condition) =>
      Object.fromEntries(Object.entries(condition ?? {}).filter(([name]) => conditionFields.includes(name))),
    ),
  };
}
