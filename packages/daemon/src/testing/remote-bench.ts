import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorText } from "@bpfleet/base";
import { PlanServer, type PlanServerOptions } from "../plan-service/plan-server.ts";
import { RemoteDaemon, type RemoteDaemonOptions } from "../plan-service/remote-daemon.ts";
import type { TlsPaths } from "../tls/tls-files.ts";
import { Certificates } from "./certificates.ts";
import { FakeNode } from "./fake-node.ts";

/** A daemon over a kernel in memory, and its agent's end of a real socket. */
export class RemoteBench implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "bpfleet-plan-"));
  readonly certificates = Certificates.copy(join(this.folder, "certificates"));
  readonly socket = join(this.folder, "plan.sock");
  readonly agentTls: TlsPaths;
  readonly notices: string[] = [];
  readonly troubles: string[] = [];
  readonly #daemonTls: TlsPaths;
  readonly #agents: RemoteDaemon[] = [];
  node = new FakeNode();
  #server: PlanServer | undefined;

  constructor() {
    this.#daemonTls = this.certificates.pathsOf("daemon");
    this.agentTls = this.certificates.pathsOf("agent");
  }

  async serve(more: Partial<PlanServerOptions> = {}): Promise<void> {
    this.#server = await PlanServer.start(this.node.daemon, {
      socket: this.socket,
      tls: this.#daemonTls,
      onTrouble: (error) => void this.troubles.push(errorText(error)),
      pollMs: 20,
      ...more,
    });
  }

  async connect(more: Partial<RemoteDaemonOptions> = {}): Promise<RemoteDaemon> {
    const daemon = await RemoteDaemon.connect({
      socket: this.socket,
      tls: this.agentTls,
      version: "0.1.0",
      onNotice: (notice) => void this.notices.push(notice),
      retry: { firstMs: 10, longestMs: 100 },
      graceMs: 50,
      pollMs: 20,
      ...more,
    });
    this.#agents.push(daemon);
    return daemon;
  }

  /** What the kernel holds stays. */
  async stopDaemon(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
    await this.node[Symbol.asyncDispose]();
  }

  async restartDaemon(more: Partial<PlanServerOptions> = {}): Promise<void> {
    await this.stopDaemon();
    this.node = new FakeNode(this.node.world);
    await this.serve(more);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents) await agent[Symbol.asyncDispose]();
    await this.stopDaemon();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
