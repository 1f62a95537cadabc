import { fingerprint, type Issue, type ObjectRef } from "@bpfleet/base";

/** `core` is the directory of the group that has no name; `_` of objects that have no namespace. */
const coreGroup = "core";
const noNamespace = "_";
/** Leaves room for the ending and for the name of an unfinished file within NAME_MAX. */
const longestName = 200;

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const kindName = /^[A-Za-z][A-Za-z0-9]{0,62}$/;

/** Names that Kubernetes would refuse; names without issues cannot leave the directory of the store. */
export function checkRef(ref: ObjectRef): readonly Issue[] {
  const issues: Issue[] = [];
  const refuse = (path: string, code: string, message: string) =>
    issues.push({ path, code, message, severity: "error" });
  if (ref.group !== "" && (ref.group.length > 253 || !subdomain.test(ref.group) || ref.group === coreGroup)) {
    refuse("/apiVersion", "format", `the group ${JSON.stringify(ref.group)} is no lower-case DNS name`);
  }
  if (!kindName.test(ref.kind)) refuse("/kind", "format", `${JSON.stringify(ref.kind)} is no name of a kind`);
  if (ref.namespace !== "" && !label.test(ref.namespace)) {
    refuse(
      "/metadata/namespace",
      "format",
      `${JSON.stringify(ref.namespace)} is no namespace: lower-case letters, digits and '-', at most 63, as in 'my-name'`,
    );
  }
  if (ref.name === "") refuse("/metadata/name", "required", "a name is required");
  else if (ref.name.length > 253 || !subdomain.test(ref.name)) {
    refuse(
      "/metadata/name",
      "format",
      `${JSON.stringify(ref.name)} is no name: lower-case letters, digits, '-' and '.', at most 253, as in 'example.com'`,
    );
  }
  return issues;
}

/** Where an object lies below a root, e.g. `networking.fos1.io/EBPFProgram/default/filter.yaml`. */
export function objectPath(ref: ObjectRef, extension: "yaml" | "json"): string {
  if (checkRef(ref).length > 0)
    throw new RangeError(`${ref.kind} ${ref.namespace}/${ref.name} is no name that a file can have`);
  const group = ref.group === "" ? coreGroup : ref.group;
  const namespace = ref.namespace === "" ? noNamespace : ref.namespace;
  return `${group}/${ref.kind}/${namespace}/${fileName(ref.name)}.${extension}`;
}

/** The namespace directory of a path made by objectPath. */
export function namespaceOfPath(path: string): string {
  const directory = path.split("/").at(-2) ?? noNamespace;
  return directory === noNamespace ? "" : directory;
}

function fileName(name: string): string {
  return name.length <= longestName ? name : `${name.slice(0, longestName - 16)}__${fingerprint(name)}`;
}
