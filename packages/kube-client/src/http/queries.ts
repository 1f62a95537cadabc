import type { ListOptions, Selection, WriteOptions } from "../kube-client.ts";

export function listQuery(options: ListOptions): Record<string, string> {
  const { limit, continue: token, resourceVersion, resourceVersionMatch } = options;
  return {
    ...selectionQuery(options),
    ...(limit === undefined ? {} : { limit: String(limit) }),
    ...(token === undefined ? {} : { continue: token }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(resourceVersionMatch === undefined ? {} : { resourceVersionMatch }),
  };
}

export function selectionQuery({ labelSelector, fieldSelector }: Selection): Record<string, string> {
  return {
    ...(labelSelector === undefined || labelSelector === "" ? {} : { labelSelector }),
    ...(fieldSelector === undefined || fieldSelector === "" ? {} : { fieldSelector }),
  };
}

export function writeQuery(options: WriteOptions & { readonly isForced?: boolean | undefined }): string {
  const { fieldManager, isDryRun, fieldValidation, isForced } = options;
  return encodeQuery({
    ...(fieldManager === undefined ? {} : { fieldManager }),
    ...(isForced === true ? { force: "true" } : {}),
    ...(isDryRun === true ? { dryRun: "All" } : {}),
    ...(fieldValidation === undefined ? {} : { fieldValidation }),
  });
}

export function encodeQuery(query: Readonly<Record<string, string>>): string {
  const text = new URLSearchParams(query).toString();
  return text === "" ? "" : `?${text}`;
}
