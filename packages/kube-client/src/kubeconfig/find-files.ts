import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { AccessError } from "./access-error.ts";

export interface KubeconfigPlace {
  /** As given by a flag: this file and no other. */
  readonly path?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The files that make up the configuration, in order of precedence; none where there is no kubeconfig at all. */
export function findKubeconfigs({ path, env }: KubeconfigPlace): readonly string[] {
  if (path !== undefined) {
    if (!existsSync(path)) throw new AccessError(`read kubeconfig ${path}: no such file (ENOENT); check the path`);
    return [path];
  }
  const listed = (env["KUBECONFIG"] ?? "").split(delimiter).filter((file) => file !== "");
  if (listed.length > 0) {
    const present = [...new Set(listed)].filter((file) => existsSync(file));
    if (present.length > 0) return present;
    throw new AccessError(
      `read KUBECONFIG=${env["KUBECONFIG"]}: no such file (ENOENT); name a file that exists, or unset KUBECONFIG`,
    );
  }
  const home = env["HOME"];
  const usual = home === undefined ? undefined : join(home, ".kube", "config");
  return usual !== undefined && existsSync(usual) ? [usual] : [];
}
