/** What reading a kind and keeping its status needs of the API server; role manifests are made from it. */
export interface KindAccess {
  readonly resource: string;
  readonly verbs: readonly ("get" | "list" | "watch" | "create" | "patch" | "update" | "delete")[];
}

/** A kind that the agent reads and whose status it writes. */
export function readAndReport(plural: string): readonly KindAccess[] {
  return [
    { resource: plural, verbs: ["get", "list", "watch"] },
    { resource: `${plural}/status`, verbs: ["get", "patch", "update"] },
  ];
}
