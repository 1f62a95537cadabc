import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** An etcd and a kube-apiserver on loopback, with an administrator's certificate. */
export interface ApiServer extends AsyncDisposable {
  readonly url: string;
  /** Path of a kubeconfig of the administrator. */
  readonly kubeconfig: string;
  readonly version: string;
  call(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** Runs the kubectl of the same build; `input` is its standard input. */
  kubectl(args: readonly string[], input?: string): string;
  /** KILL to the API server; its store lives on. */
  kill(): Promise<void>;
  /** Starts it again on its port, with more flags than before where they are given, and waits until it is ready. */
  restart(moreFlags?: readonly string[]): Promise<void>;
  /** STOP or CONT to the API server: connections stay and nothing answers. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  /** The store forgets all but the present. */
  compact(): Promise<void>;
  /** Address of the store. */
  readonly store: string;
}

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  /** What kubectl prints after `Warning: `. */
  readonly warnings: readonly string[];
}

const startTimeoutMs = 120_000;
/** No call of a test takes as long on a machine that does anything at all. */
const callTimeoutMs = 120_000;
/** Another process may take a port that was free when it was asked for. */
const maxStarts = 3;
/** And the number of the process that made it. */
const folderName = "bpfleet-cluster-";

/** Starts both from the binaries in `folder`; they end when the result is disposed of, or with this process. */
export async function startApiServer(folder: string, moreFlags: readonly string[] = []): Promise<ApiServer> {
  sweepFolders();
  for (let starts = 1; ; starts++) {
    const cluster = new Cluster(folder, moreFlags);
    try {
      return await cluster.start();
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      if (starts === maxStarts || !String(error).includes("address already in use")) throw error;
    }
  }
}

/** Removes what processes left that were killed: etcd and API server ended with them, their files did not. */
export function sweepFolders(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid] = /^bpfleet-(?:cluster|fleet)-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    rmSync(join(tmpdir(), name), { recursive: true, force: true, maxRetries: 5 });
  }
}

class Cluster implements AsyncDisposable {
  readonly #folder: string;
  readonly #moreFlags: readonly string[];
  readonly #dir = mkdtempSync(join(tmpdir(), `${folderName}${process.pid}-`));
  readonly #processes: Running[] = [];
  readonly #removeAll = (): void => {
    for (const running of this.#processes) running.process.kill("SIGKILL");
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  };

  constructor(folder: string, moreFlags: readonly string[]) {
    this.#folder = folder;
    this.#moreFlags = moreFlags;
    // Whoever exits without disposing leaves nothing either.
    process.on("exit", this.#removeAll);
  }

  async start(): Promise<ApiServer> {
    this.#makeCertificates();
    const [etcdPort, port] = [await freePort(), await freePort()];
    const store = `http://127.0.0.1:${etcdPort}`;
    const url = `https://127.0.0.1:${port}`;
    const etcd = this.#run("etcd", [
      `--data-dir=${this.#at("etcd")}`,
      "--unsafe-no-fsync",
      `--listen-client-urls=${store}`,
      `--advertise-client-urls=${store}`,
      "--listen-peer-urls=http://127.0.0.1:0",
    ]);
    await until("etcd", etcd, async () => (await fetch(`${store}/health`)).ok);
    const flags = [
      `--etcd-servers=${store}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--secure-port=${port}`,
      `--tls-cert-file=${this.#at("server.crt")}`,
      `--tls-private-key-file=${this.#at("server.key")}`,
      `--client-ca-file=${this.#at("ca.crt")}`,
      "--authorization-mode=RBAC",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${this.#at("accounts.key")}`,
      `--service-account-signing-key-file=${this.#at("accounts.key")}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      "--allow-privileged=true",
      "--disable-admission-plugins=ServiceAccount",
      ...this.#moreFlags,
    ];
    let server = this.#run("kube-apiserver", flags);
    const kubeconfig = this.#writeKubeconfig(url);
    const call: ApiServer["call"] = (method, path, body, headers) => this.#call(url, method, path, body, headers);
    const ready = () => until("kube-apiserver", server, async () => (await call("GET", "/readyz")).status === 200);
    await ready();
    const version = String((await call("GET", "/version")).body["gitVersion"]);
    return {
      url,
      kubeconfig,
      version,
      call,
      kubectl: (args, input = "") => {
        const env = { PATH: process.env["PATH"], HOME: this.#dir, KUBECONFIG: kubeconfig };
        try {
          return execFileSync(join(this.#folder, "kubectl"), args, {
            encoding: "utf8",
            input,
            env,
            stdio: ["pipe", "pipe", "pipe"],
            timeout: callTimeoutMs,
            killSignal: "SIGKILL",
          });
        } catch (error) {
          if ((error as { code?: unknown }).code !== "ETIMEDOUT") throw error;
          throw new Error(`run kubectl ${args.join(" ")}: not done after ${callTimeoutMs / 1000} s`, { cause: error });
        }
      },
      kill: async () => {
        server.process.kill("SIGKILL");
        await server.ended;
      },
      restart: async (more = []) => {
        server = this.#run("kube-apiserver", [...flags, ...more]);
        await ready();
      },
      signal: (signal) => void server.process.kill(signal),
      compact: () => compact(store),
      store,
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    };
  }

  /** KILL at once: with open watches an API server takes long to leave, and nothing of it is kept. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#processes.splice(0).toReversed()) {
      running.process.kill("SIGKILL");
      await running.ended;
    }
    this.#removeAll();
    process.off("exit", this.#removeAll);
  }

  #at(name: string): string {
    return join(this.#dir, name);
  }

  /** `setpriv --pdeathsig`: gone with this process, however that dies. */
  #run(name: string, args: readonly string[]): Running {
    const child = spawn("setpriv", ["--pdeathsig", "KILL", join(this.#folder, name), ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const running: Running = {
      process: child,
      log: "",
      ended: new Promise((resolve) => child.once("close", resolve).once("error", resolve)),
    };
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (text) => (running.log = `${running.log}${text}`.slice(-16384)));
    this.#processes.push(running);
    return running;
  }

  #makeCertificates(): void {
    writeFileSync(this.#at("empty.cnf"), "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n");
    this.#certificate("ca", "/CN=bpfleet-test", [
      "basicConstraints=critical,CA:TRUE",
      "keyUsage=critical,keyCertSign,cRLSign",
    ]);
    this.#certificate("server", "/CN=kube-apiserver", [
      "basicConstraints=CA:FALSE",
      "extendedKeyUsage=serverAuth",
      "subjectAltName=IP:127.0.0.1",
    ]);
    this.#certificate("admin", "/O=system:masters/CN=admin", [
      "basicConstraints=CA:FALSE",
      "extendedKeyUsage=clientAuth",
    ]);
    this.#openssl("genrsa", "-out", this.#at("accounts.key"), "2048");
  }

  #certificate(name: string, subject: string, extensions: readonly string[]): void {
    const signer = name === "ca" ? [] : ["-CA", this.#at("ca.crt"), "-CAkey", this.#at("ca.key")];
    this.#openssl(
      "req",
      "-config",
      this.#at("empty.cnf"),
      "-x509",
      "-days",
      "7",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-subj",
      subject,
      ...extensions.flatMap((extension) => ["-addext", extension]),
      ...signer,
      "-keyout",
      this.#at(`${name}.key`),
      "-out",
      this.#at(`${name}.crt`),
    );
  }

  #openssl(...args: readonly string[]): void {
    execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  }

  #writeKubeconfig(server: string): string {
    const packed = (name: string): string => readFileSync(this.#at(name)).toString("base64");
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      clusters: [{ name: "test", cluster: { server, "certificate-authority-data": packed("ca.crt") } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "admin" } }],
      users: [
        {
          name: "admin",
          user: { "client-certificate-data": packed("admin.crt"), "client-key-data": packed("admin.key") },
        },
      ],
    };
    writeFileSync(this.#at("kubeconfig"), JSON.stringify(config), { mode: 0o600 });
    return this.#at("kubeconfig");
  }

  #call(
    url: string,
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const [ca, cert, key] = ["ca.crt", "admin.crt", "admin.key"].map((name) => readFileSync(this.#at(name)));
    return new Promise((resolve, reject) => {
      const outgoing = request(
        `${url}${path}`,
        {
          method,
          ca,
          cert,
          key,
          headers: { "content-type": "application/json", ...headers },
          signal: AbortSignal.timeout(callTimeoutMs),
        },
        (incoming) => {
          let text = "";
          incoming.setEncoding("utf8").on("data", (part: string) => (text += part));
          incoming.on("end", () => {
            const warnings = (incoming.headersDistinct["warning"] ?? []).map(readWarning);
            const body = text.startsWith("{") ? JSON.parse(text) : { text };
            resolve({ status: incoming.statusCode ?? 0, body, warnings });
          });
        },
      );
      outgoing
        .on("error", (cause) => reject(new Error(`${method} ${path}: ${cause.message}`, { cause })))
        .end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** `299 - "text"`, with a backslash before each of its quotes and backslashes. */
function readWarning(header: string): string {
  const [, quoted = header] = /^\d+ \S+ "(.*)"$/.exec(header) ?? [];
  return quoted.replaceAll(/\\(.)/g, "$1");
}

interface Running {
  readonly process: ChildProcess;
  /** The end of what it printed. */
  log: string;
  readonly ended: Promise<unknown>;
}

async function until(what: string, running: Running, isReady: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + startTimeoutMs;
  while (!(await isReady().catch(() => false))) {
    if (running.process.exitCode !== null)
      throw new Error(`start ${what}: it ended with ${running.process.exitCode}\n${running.log}`);
    if (performance.now() > end)
      throw new Error(`start ${what}: not ready after ${startTimeoutMs / 1000} s\n${running.log}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function compact(store: string): Promise<void> {
  const ask = async (path: string, body: unknown): Promise<unknown> => {
    const response = await fetch(`${store}${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`compact etcd: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const key = Buffer.from("x").toString("base64");
  const { header } = (await ask("/v3/kv/range", { key })) as { readonly header: { readonly revision: string } };
  await ask("/v3/kv/compaction", { revision: header.revision, physical: true });
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
