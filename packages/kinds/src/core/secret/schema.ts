import { encodeBase64 } from "./base64.ts";
import type { KubeObject } from "../../kind.ts";
import { Type } from "../../schema/type.ts";

/** Kubernetes judges the rest of a secret. */
export const anySchema = Type.Unknown();

export interface Secret extends KubeObject {
  readonly kind: "Secret";
  readonly type?: string | undefined;
  /** In base64. */
  readonly data?: Readonly<Record<string, string>> | undefined;
  /** As it is; wins over `data`. */
  readonly stringData?: Readonly<Record<string, string>> | undefined;
}

/** Keys under which a secret has the credentials of registries. */
export const credentialKeys: readonly string[] = [".dockerconfigjson", ".dockercfg"];

/** All of a secret in base64. */
export function secretData({ data, stringData }: Secret): Readonly<Record<string, string>> {
  const plain = Object.entries(stringData ?? {}).map(([name, value]) => [name, encodeBase64(value)] as const);
  return { ...data, ...Object.fromEntries(plain) };
}
