/** A collection of the API: `{ group: "", version: "v1", plural: "pods" }`. */
export interface ResourceType {
  /** `""` is the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}

/** A collection, everywhere or in one namespace, or with `name` one object of it. */
export interface ResourceAddress extends ResourceType {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

export type Subresource = "status" | "scale" | "eviction" | "binding" | "token" | "log";

/** `/apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUBRESOURCE`, each word encoded. */
export function resourcePath(address: ResourceAddress, subresource?: Subresource): string {
  const { group, version, plural, namespace, name } = address;
  const words = group === "" ? ["api", version] : ["apis", group, version];
  if (namespace !== undefined && namespace !== "") words.push("namespaces", namespace);
  words.push(plural);
  if (name !== undefined) words.push(name);
  if (subresource !== undefined) words.push(subresource);
  return `/${words.map((word) => encodeURIComponent(word)).join("/")}`;
}

/** `pods`, `leases.coordination.k8s.io kube-system/operator`: as kubectl names things. */
export function renderAddress(address: ResourceAddress): string {
  const { group, plural, namespace, name } = address;
  const collection = group === "" ? plural : `${plural}.${group}`;
  const place = namespace === undefined || namespace === "" ? "" : `${namespace}/`;
  if (name !== undefined) return `${collection} ${place}${name}`;
  return place === "" ? collection : `${collection} in ${namespace}`;
}

/** `apiVersion` of the objects in a collection. */
export function apiVersionOf({ group, version }: Pick<ResourceType, "group" | "version">): string {
  return group === "" ? version : `${group}/${version}`;
}

/** Versions of one collection are decimal numbers that grow; any other text is not to be compared. */
export function compareResourceVersions(a: string, b: string): number | undefined {
  if (!isComparable(a) || !isComparable(b)) return undefined;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

function isComparable(version: string): boolean {
  return /^[1-9][0-9]*$/.test(version);
}
