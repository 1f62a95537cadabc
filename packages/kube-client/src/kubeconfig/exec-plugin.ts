import { spawn } from "node:child_process";
import { parseTime, unanswered } from "@bpfleet/kube";
import type { Credentials, Proof } from "../http/access.ts";
import { AccessError } from "./access-error.ts";
import { sayErrno } from "./say-errno.ts";

export interface ExecPlugin {
  /** `users[0].user.exec` of its file, for messages. */
  readonly where: string;
  readonly apiVersion: "client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1";
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly installHint: string | undefined;
  readonly interactiveMode: "Never" | "IfAvailable" | "Always";
  /** What the plug-in is told of the cluster, where it asks for that. */
  readonly cluster: Readonly<Record<string, unknown>> | undefined;
  readonly hasTerminal: boolean;
  readonly now: () => number;
}

const timeoutMs = 60_000;
/** Renewed so long before it ends, so that it does not end under way. */
const earlyMs = 10_000;

interface Held {
  readonly proof: Proof;
  readonly expiresAtMs: number;
}

/** Credentials that a program makes, kept until they expire. */
export class ExecCredentials implements Credentials {
  readonly #plugin: ExecPlugin;
  #held: Held | undefined;
  #asking: Promise<Held> | undefined;

  constructor(plugin: ExecPlugin) {
    this.#plugin = plugin;
  }

  async current(): Promise<Proof> {
    if (this.#held !== undefined && this.#plugin.now() < this.#held.expiresAtMs) return this.#held.proof;
    // One run serves all who ask meanwhile.
    this.#asking ??= askPlugin(this.#plugin).finally(() => (this.#asking = undefined));
    this.#held = await this.#asking;
    return this.#held.proof;
  }

  async renew(refused: Proof): Promise<void> {
    if (this.#held?.proof === refused) this.#held = undefined;
  }
}

async function askPlugin(plugin: ExecPlugin): Promise<Held> {
  const { where, command, interactiveMode, hasTerminal } = plugin;
  if (interactiveMode === "Always" && !hasTerminal) {
    throw new AccessError(
      `run ${command} of ${where}: it must ask you something (interactiveMode: Always), and there is no terminal; run this in one`,
    );
  }
  const isInteractive = interactiveMode !== "Never" && hasTerminal;
  const output = await runPlugin(plugin, isInteractive);
  return parseCredential(plugin, output);
}

function runPlugin(plugin: ExecPlugin, isInteractive: boolean): Promise<string> {
  const { apiVersion, command, where, installHint, cluster } = plugin;
  const info = {
    apiVersion,
    kind: "ExecCredential",
    spec: { interactive: isInteractive, ...(cluster === undefined ? {} : { cluster }) },
  };
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(command, plugin.args, {
    env: { ...plugin.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
    stdio: [isInteractive ? "inherit" : "ignore", "pipe", isInteractive ? "inherit" : "pipe"],
  });
  // The library's own timer would outlive a program that could not be started.
  const timer = isInteractive ? undefined : setTimeout(() => child.kill(), timeoutMs);
  let output = "";
  let complaint = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (complaint = `${complaint}${text}`.slice(-4096)));
  child.once("error", (cause) => {
    clearTimeout(timer);
    const help = installHint ?? "install it, or correct its command";
    reject(new AccessError(`run ${command} of ${where}: ${sayErrno(cause)}; ${help}`, { cause }));
  });
  child.once("close", (code, signal) => {
    clearTimeout(timer);
    if (code === 0) return resolve(output);
    const end = code === null ? `it was ended by ${signal}` : `it ended with ${code}`;
    const said = complaint.trim().split("\n").at(-1) ?? "";
    reject(unanswered(`run ${command} of ${where}`, said === "" ? end : `${end}, saying: ${said}`));
  });
  return promise;
}

interface WireCredential {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly status?: Readonly<Record<string, unknown>> | null;
}

function parseCredential(plugin: ExecPlugin, output: string): Held {
  const wrong = (problem: string, cause?: unknown): never => {
    const { command, where, apiVersion } = plugin;
    const help = `it must print an ExecCredential of ${apiVersion}`;
    throw new AccessError(`read what ${command} of ${where} printed: ${problem}; ${help}`, { cause });
  };
  let credential: WireCredential = {};
  try {
    credential = JSON.parse(output) as WireCredential;
  } catch (cause) {
    wrong("no JSON", cause);
  }
  if (credential.kind !== "ExecCredential" || credential.apiVersion !== plugin.apiVersion)
    wrong(`it is ${String(credential.apiVersion)} ${String(credential.kind)}`);
  const status = credential.status ?? wrong("it has no status");
  const text = (name: string): string | undefined => {
    const value = status[name];
    if (value === undefined || value === null || value === "") return undefined;
    return typeof value === "string" ? value : wrong(`status.${name} is no text`);
  };
  const [token, cert, key] = [text("token"), text("clientCertificateData"), text("clientKeyData")];
  if (token === undefined && cert === undefined) wrong("it has neither a token nor a client certificate");
  if ((cert === undefined) !== (key === undefined)) wrong("a client certificate and its key must come together");
  const expires = text("expirationTimestamp");
  const expiresAtMs = expires === undefined ? Infinity : parseTime(expires);
  if (expiresAtMs === undefined) return wrong(`status.expirationTimestamp ${expires} is no time of RFC 3339`);
  const lifeMs = expiresAtMs - plugin.now();
  return {
    proof: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(cert === undefined || key === undefined ? {} : { certificate: { cert, key } }),
    },
    expiresAtMs: expiresAtMs - Math.min(earlyMs, Math.max(0, lifeMs / 10)),
  };
}
