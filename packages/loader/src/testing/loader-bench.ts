import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { DirectoryStore, startAgent, type Agent } from "@bpfleet/agent";
import { ObedientDaemon } from "@bpfleet/agent/testing";
import type { Clock } from "@bpfleet/base";
import { features } from "@bpfleet/features";
import { renderSource, type BytecodeReady, type BytecodeSource } from "@bpfleet/kernel";
import { kinds } from "@bpfleet/kinds";
import { parseBpfdConfig, type BpfdConfig } from "../bpfd-config.ts";
import { Loader } from "../loader.ts";
import { serveLoader, type LoaderServer } from "../loader-server.ts";
import { Authority, type IssuedFiles } from "./certificates.ts";
import { LoaderClient } from "./loader-client.ts";

const clock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

const ready: BytecodeReady = {
  state: "ready",
  objectDigest: "ab".repeat(32),
  signature: "unsigned",
  labels: {},
  programs: [
    { entry: "pass_all", section: "xdp/pass", type: undefined, instructions: 2 },
    { entry: "pass_tc", section: "classifier/pass", type: undefined, instructions: 2 },
    { entry: "hello_all", section: "tracepoint/hello", type: undefined, instructions: 2 },
  ],
  maps: [],
  globals: [
    { name: "u", section: ".rodata", sizeBytes: 4, type: "__u32", shape: { is: "int", sizeBytes: 4, isSigned: false } },
  ],
  license: "GPL",
};

/** The API over an agent and a store of its own, reached with another gRPC implementation. */
export class LoaderBench implements AsyncDisposable {
  readonly directory: string;
  readonly authority: Authority;
  readonly daemon = new ObedientDaemon();
  readonly store: DirectoryStore;
  readonly config: BpfdConfig;
  readonly notices: string[] = [];
  #agent: Agent | undefined;
  #server: LoaderServer | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.authority = new Authority(directory, "bpfd-ca");
    this.store = new DirectoryStore({ directory: join(directory, "objects"), clock });
    const { cert, key } = this.authority.issue("bpfd");
    this.config = parseBpfdConfig(
      [
        `[tls]\nca_cert = "${this.authority.cert}"\ncert = "${cert}"\nkey = "${key}"`,
        `[grpc.endpoint]\nport = 0\nunix = "${directory}/bpfd.sock"`,
        `[loader]\nadministrators = ["bpfctl"]`,
      ].join("\n"),
    );
  }

  static async start(): Promise<LoaderBench> {
    const bench = new LoaderBench(mkdtempSync(join(tmpdir(), "loader-")));
    try {
      await bench.startServer();
    } catch (error) {
      await bench[Symbol.asyncDispose]();
      throw error;
    }
    return bench;
  }

  /** Again after `stop`, over what is stored. */
  async startServer(): Promise<void> {
    const stateDir = join(this.directory, "state");
    this.#agent = await startAgent({
      store: this.store.directory,
      stateDir,
      daemon: this.daemon,
      features,
      kinds,
      clock,
    });
    const loader = new Loader({ store: this.store, agent: this.#agent, layout: this.config.layout, timeoutMs: 5000 });
    this.#server = await serveLoader(loader, this.config, {
      renewMs: 50,
      onNotice: (notice) => this.notices.push(notice),
    });
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    await this.#agent?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }

  /** What every daemon would have fetched. */
  offer(...sources: readonly BytecodeSource[]): void {
    this.daemon.setFacts({ bytecode: Object.fromEntries(sources.map((source) => [renderSource(source), ready])) });
  }

  refuse(source: BytecodeSource, message: string): void {
    this.daemon.setFacts({
      bytecode: { [renderSource(source)]: { state: "failed", reason: "ImagePullFailed", message } },
    });
  }

  /** With the certificate; `undefined`: with none. */
  client(files: IssuedFiles | undefined, ca: Buffer = readFileSync(this.authority.cert)): LoaderClient {
    const own = files === undefined ? [] : [readFileSync(files.key), readFileSync(files.cert)];
    return new LoaderClient(`[::1]:${this.#server?.port ?? 0}`, credentials.createSsl(ca, ...own));
  }

  localClient(): LoaderClient {
    return new LoaderClient(`unix:${this.config.unix}`, credentials.createInsecure());
  }
}
