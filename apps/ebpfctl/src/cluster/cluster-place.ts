import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { World } from "../world.ts";

/** Which cluster is meant, as kubectl is told it. */
export interface ClusterPlace {
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
}

/** The words that do the same in the pod of a node's daemon. */
export function nodeCommand(argv: readonly string[]): string {
  const quoted = argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`));
  return ["kubectl exec -n kube-system daemonset/bpfd-daemon -- ebpfctl", ...quoted].join(" ");
}

/** Without what says which cluster is meant. */
export function withoutPlace(argv: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? "";
    if (word === "--kubeconfig" || word === "--context") at++;
    else if (!/^--(kubeconfig|context)=/.test(word)) kept.push(word);
  }
  return kept;
}

/** Whether whoever calls has a cluster to ask. */
export function knowsCluster({ env }: Pick<World, "env">): boolean {
  if ((env["KUBECONFIG"] ?? "") !== "") return true;
  return env["HOME"] !== undefined && existsSync(join(env["HOME"] || homedir(), ".kube/config"));
}
