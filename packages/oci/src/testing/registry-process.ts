import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CertificateFiles } from "./certificates.ts";

/** The user of registries with authentication. */
export const registryUser = { username: "puller", password: "opensesame" } as const;
// bcrypt of that password, which is all that the registry's htpasswd takes.
const htpasswd = `${registryUser.username}:$2b$04$15phMLCGJqbXATFh.42E4OZ0vGfCPwwAk8ORBtcg1zFO1bE2TAdDG\n`;

export type RegistryAuth = "none" | "basic" | { readonly realm: string; readonly trusts: string };

/** Why there can be no registry here, for a test to skip. */
export function registryAbsence(): string | undefined {
  const places = (process.env["PATH"] ?? "").split(":");
  const isThere = places.some((place) => existsSync(join(place, "docker-registry")));
  return isThere ? undefined : "docker-registry is not installed; apt-get install docker-registry";
}

/** Debian's docker-registry with TLS on loopback; its data are in the directory, so that it can be started again. */
export class RegistryProcess implements AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly #child: ChildProcess;

  private constructor(host: string, child: ChildProcess) {
    this.host = host;
    this.#child = child;
  }

  static async start(directory: string, tls: CertificateFiles, auth: RegistryAuth, port = 0): Promise<RegistryProcess> {
    const address = `127.0.0.1:${port === 0 ? await freePort() : port}`;
    mkdirSync(join(directory, "data"), { recursive: true });
    writeFileSync(join(directory, "htpasswd"), htpasswd);
    const config = {
      version: "0.1",
      log: { level: "error", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(directory, "data") } },
      http: { addr: address, tls: { certificate: tls.cert, key: tls.key } },
      ...(auth === "basic" ? { auth: { htpasswd: { realm: "test", path: join(directory, "htpasswd") } } } : {}),
      ...(typeof auth === "object"
        ? { auth: { token: { realm: auth.realm, service: "registry", issuer: "test", rootcertbundle: auth.trusts } } }
        : {}),
    };
    const path = join(directory, "config.yml");
    writeFileSync(path, JSON.stringify(config));
    const child = spawn("docker-registry", ["serve", path], { stdio: "ignore" });
    const registry = new RegistryProcess(address, child);
    await registry.#ready();
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }

  async #ready(): Promise<void> {
    for (let attempt = 0; attempt < 200; attempt++) {
      if (this.#child.exitCode !== null) throw new Error(`docker-registry ended with ${this.#child.exitCode}`);
      if (await isListening(Number(this.host.split(":")[1]))) return;
      await sleep(50);
    }
    throw new Error("docker-registry does not listen after 10 s");
  }
}

async function isListening(port: number): Promise<boolean> {
  const { connect } = await import("node:net");
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve((socket.destroy(), true)));
    socket.once("error", () => resolve(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
