import { readFileSync } from "node:fs";
import { request as plainRequest, type IncomingMessage } from "node:http";
import { request as tlsRequest } from "node:https";
import { text } from "node:stream/consumers";
import { parseNodeProgram, type NodeProgram } from "./node-program.ts";
import { SourceError, type ProgramKind, type ProgramSource } from "./program-source.ts";

export interface ClusterAccess {
  /** `https://HOST:PORT` */
  readonly server: string;
  /** Read before every request: the kubelet renews it. */
  readonly token: () => string | undefined;
  readonly ca?: string | undefined;
}

const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";
const pollMs = 5000;
const plurals: Readonly<Record<ProgramKind, string>> = { BpfProgram: "bpfprograms", EbpfProgram: "bpfdebpfprograms" };

/** What Kubernetes gives a pod; `undefined` outside of one. */
export function inClusterAccess(env: NodeJS.ProcessEnv, folder: string = accountFolder): ClusterAccess | undefined {
  const [host, port] = [env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]];
  if (host === undefined || port === undefined) return undefined;
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    token: () => readFileSync(`${folder}/token`, "utf8").trim(),
    ca: readFileSync(`${folder}/ca.crt`, "utf8"),
  };
}

/** The programs of a cluster; the role `bpfd-bpfprogram-viewer` is enough. */
export function clusterSource(access: ClusterAccess): ProgramSource {
  const versions = new Map<string, string>();
  return {
    async read(kind, name, signal) {
      const response = await ask(access, `${plurals[kind]}/${encodeURIComponent(name)}`, signal);
      const body = await text(response);
      if (response.statusCode === 404) {
        versions.delete(`${kind}/${name}`);
        return undefined;
      }
      if (response.statusCode !== 200) throw refused(access, name, response.statusCode ?? 0, body);
      return remember(versions, `${kind}/${name}`, body);
    },
    async changed(kind, name, signal) {
      const query = new URLSearchParams({
        watch: "true",
        fieldSelector: `metadata.name=${name}`,
        timeoutSeconds: "60",
      });
      const version = versions.get(`${kind}/${name}`);
      if (version !== undefined) query.set("resourceVersion", version);
      try {
        const both = AbortSignal.any([signal, AbortSignal.timeout(65_000)]);
        const response = await ask(access, `${plurals[kind]}?${query.toString()}`, both);
        if (response.statusCode !== 200) return await pause(signal);
        // Any event is a reason to read again: the object in it is not needed.
        for await (const _event of response) break;
        response.destroy();
      } catch {
        await pause(signal);
      }
    },
  };
}

function remember(versions: Map<string, string>, key: string, body: string): NodeProgram {
  const object = JSON.parse(body) as { readonly metadata?: { readonly resourceVersion?: unknown } };
  const version = object.metadata?.resourceVersion;
  if (typeof version === "string") versions.set(key, version);
  return parseNodeProgram(object);
}

function refused({ server }: ClusterAccess, name: string, status: number, body: string): SourceError {
  const help = status === 403 ? "; bind the ClusterRole bpfd-bpfprogram-viewer to the service account" : "";
  return new SourceError(`read BpfProgram ${name} from ${server}: HTTP ${status} ${body.slice(0, 200).trim()}${help}`, {
    status,
  });
}

async function ask(access: ClusterAccess, path: string, signal: AbortSignal | undefined): Promise<IncomingMessage> {
  const url = new URL(`/apis/bpfd.io/v1alpha1/${path}`, access.server);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const token = access.token();
  const options = {
    headers: { accept: "application/json", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    ...(signal === undefined ? {} : { signal }),
    ...(access.ca === undefined ? {} : { ca: access.ca }),
  };
  const call = (url.protocol === "http:" ? plainRequest : tlsRequest)(url, options, resolve);
  call.on("error", (cause) =>
    reject(new SourceError(`ask the API server at ${access.server}: ${cause.message}`, { cause })),
  );
  call.end();
  return promise;
}

async function pause(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, pollMs);
  signal.addEventListener("abort", () => resolve(), { once: true });
  if (!signal.aborted) await promise;
  clearTimeout(timer);
}
