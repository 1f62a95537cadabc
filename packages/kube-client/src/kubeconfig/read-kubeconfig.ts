import { readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { sayErrno } from "./say-errno.ts";
import { AccessError } from "./access-error.ts";
import { KubeconfigNode } from "./kubeconfig-node.ts";

/** The cluster, the user and the namespace of one context. */
export interface ChosenContext {
  readonly name: string;
  readonly namespace: string;
  readonly cluster: KubeconfigNode;
  /** Absent: nobody in particular. */
  readonly user: KubeconfigNode | undefined;
}

type Section = "clusters" | "users" | "contexts";

/** Several files are one: of entries with the same name, and of current contexts, the first counts. */
export function readKubeconfig(files: readonly string[], wanted?: string): ChosenContext {
  const roots = files.map((file) => KubeconfigNode.parse(file, readText(file)));
  const [first] = roots;
  if (first === undefined) throw new AccessError("read kubeconfig: there is none; set KUBECONFIG");
  const name = wanted ?? roots.map((root) => root.at("current-context").text()).find((text) => text !== undefined);
  const where = files.join(", ");
  if (name === undefined) {
    const help = listed(roots, "contexts");
    throw new AccessError(
      `read ${where}: no current-context is set; choose one with \`kubectl config use-context\`${help}`,
    );
  }
  const entry = find(roots, "contexts", name);
  if (entry === undefined)
    throw new AccessError(
      `read ${where}: there is no context ${name}${listed(roots, "contexts") || "; there are none at all"}`,
    );
  const context = entry.at("context");
  const clusterName =
    context.at("cluster").text() ?? context.at("cluster").fail("is missing", "name an entry of clusters");
  const cluster = find(roots, "clusters", clusterName);
  if (cluster === undefined) {
    return context
      .at("cluster")
      .fail(`names ${clusterName}, which is not there`, `add it to clusters${listed(roots, "clusters")}`);
  }
  const userName = context.at("user").text();
  const user = userName === undefined ? undefined : find(roots, "users", userName);
  if (userName !== undefined && user === undefined)
    return context.at("user").fail(`names ${userName}, which is not there`, `add it to users${listed(roots, "users")}`);
  return {
    name,
    namespace: context.at("namespace").text() ?? "default",
    cluster: cluster.at("cluster"),
    user: user?.at("user"),
  };
}

function find(roots: readonly KubeconfigNode[], section: Section, name: string): KubeconfigNode | undefined {
  for (const root of roots)
    for (const entry of root.at(section).items()) if (entry.at("name").text() === name) return entry;
  return undefined;
}

function listed(roots: readonly KubeconfigNode[], section: Section): string {
  const names = new Set(
    roots.flatMap((root) =>
      root
        .at(section)
        .items()
        .map((entry) => entry.at("name").text() ?? ""),
    ),
  );
  return names.size === 0 ? "" : `; there are: ${[...names].slice(0, 20).join(", ")}`;
}

/** Paths in a kubeconfig are relative to the folder of its file. */
export function besideFile(node: KubeconfigNode, path: string): string {
  return isAbsolute(path) ? path : join(dirname(node.file), path);
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new AccessError(`read kubeconfig ${file}: ${sayErrno(cause)}; make it readable for this user`, { cause });
  }
}
