import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemTiming } from "../timing.ts";
import type { ClusterAccess } from "../http/access.ts";
import { environmentProxy } from "./environment-proxy.ts";
import { AccessError } from "./access-error.ts";
import type { AccessOptions } from "./access-options.ts";
import { withAuthority } from "./with-authority.ts";
import { RenewedFile } from "./renewed-file.ts";
import { sayErrno } from "./say-errno.ts";

const usualFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** What Kubernetes gives a pod; `undefined` outside of one. The kubelet renews token and authority; both are re-read. */
export function findPodAccess(options: AccessOptions): ClusterAccess | undefined {
  const { env, podFolder = usualFolder, timing = systemTiming } = options;
  const [host, port] = [env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]];
  if (!host || !port) return undefined;
  const token = new RenewedFile(join(podFolder, "token"), timing);
  const ca = new RenewedFile(join(podFolder, "ca.crt"), timing);
  const namespaceFile = join(podFolder, "namespace");
  const read = async (file: RenewedFile): Promise<string> => {
    try {
      return await file.text();
    } catch (cause) {
      const help = "give the pod a service account token (automountServiceAccountToken, or a projected volume)";
      throw new AccessError(`read ${file.path}: ${sayErrno(cause)}; ${help}`, { cause });
    }
  };
  const credentials = {
    current: async () => ({ authorization: `Bearer ${await read(token)}` }),
    renew: async () => token.expire(),
  };
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return {
    server,
    proxyUrl: environmentProxy(env, server),
    namespace: existsSync(namespaceFile) ? readFileSync(namespaceFile, "utf8").trim() || "default" : "default",
    tls: {},
    credentials: withAuthority(credentials, () => read(ca)),
    allowsHttp2: options.allowsHttp2,
  };
}
