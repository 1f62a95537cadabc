import { systemTiming } from "../timing.ts";
import { anonymous } from "../http/access.ts";
import type { ClusterAccess } from "../http/access.ts";
import type { AccessOptions } from "./access-options.ts";
import { AccessError } from "./access-error.ts";
import { environmentProxy } from "./environment-proxy.ts";
import { findKubeconfigs } from "./find-files.ts";
import { findPodAccess } from "./pod-access.ts";
import type { KubeconfigNode } from "./kubeconfig-node.ts";
import { readKubeconfig } from "./read-kubeconfig.ts";
import { withAuthority } from "./with-authority.ts";
import { fileOrData, readSource, userCredentials } from "./user-credentials.ts";

/**
 * How to reach the cluster: the kubeconfig of the flag, of KUBECONFIG, what Kubernetes gives a pod, or
 * ~/.kube/config, whichever is there first. Throws `AccessError` that says what is wrong where.
 */
export function loadAccess(options: AccessOptions): ClusterAccess {
  const { env, kubeconfig, context } = options;
  const isNamed = kubeconfig !== undefined || (env["KUBECONFIG"] ?? "") !== "" || context !== undefined;
  const pod = isNamed ? undefined : findPodAccess(options);
  if (pod !== undefined) return pod;
  const files = findKubeconfigs({ env, path: kubeconfig });
  if (files.length > 0) return kubeconfigAccess(files, options);
  throw new AccessError(
    "find a cluster: there is no kubeconfig and this is no pod; set KUBECONFIG or make ~/.kube/config",
  );
}

export function kubeconfigAccess(files: readonly string[], options: AccessOptions): ClusterAccess {
  const timing = options.timing ?? systemTiming;
  const { namespace, cluster, user } = readKubeconfig(files, options.context);
  const server = readServer(cluster);
  const isInsecure = cluster.at("insecure-skip-tls-verify").flag();
  const ca = fileOrData(cluster, "certificate-authority", timing);
  if (isInsecure && ca !== undefined) {
    cluster
      .at("insecure-skip-tls-verify")
      .fail("contradicts the certificate authority that is given too", "remove one of them");
  }
  const serverName = cluster.at("tls-server-name").text();
  const proxyUrl = readProxy(cluster) ?? environmentProxy(options.env, server);
  const told = { server, ...(serverName === undefined ? {} : { "tls-server-name": serverName }), ...toldOf(cluster) };
  const credentials =
    user === undefined || user.isAbsent
      ? anonymous
      : userCredentials(user, { env: options.env, timing, hasTerminal: options.hasTerminal ?? false, cluster: told });
  return {
    server,
    namespace,
    tls: { serverName, isInsecure },
    credentials: ca === undefined ? credentials : withAuthority(credentials, () => readSource(ca)),
    proxyUrl,
    allowsHttp2: options.allowsHttp2,
  };
}

function readServer(cluster: KubeconfigNode): string {
  const node = cluster.at("server");
  const text = node.text() ?? cluster.fail("has no server", "add server: https://HOST:PORT");
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    return node.fail(`is ${text}, which is no address`, "write https://HOST:PORT");
  return text.replace(/\/+$/, "");
}

function readProxy(cluster: KubeconfigNode): string | undefined {
  const node = cluster.at("proxy-url");
  const text = node.text();
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return text;
  return node.fail(`is ${text}, and only http and https proxies are served`, "write http://HOST:PORT");
}

/** The fields of the cluster that an exec plug-in may be told, as they stand. */
function toldOf(cluster: KubeconfigNode): Readonly<Record<string, unknown>> {
  const names = ["insecure-skip-tls-verify", "certificate-authority-data", "proxy-url"];
  const fields = names.flatMap((name) => {
    const value = cluster.at(name).plain();
    return value === undefined ? [] : [[name, value] as const];
  });
  const extension = cluster
    .at("extensions")
    .items()
    .find((item) => item.at("name").text() === "client.authentication.k8s.io/exec");
  const config = extension?.at("extension").plain();
  return { ...Object.fromEntries(fields), ...(config === undefined ? {} : { config }) };
}
