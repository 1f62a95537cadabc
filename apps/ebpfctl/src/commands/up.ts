import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { InvalidArgumentError } from "@commander-js/extra-typings";
import { serveAgent, startAgent, type Agent, type NodeReport } from "@bpfleet/agent";
import { renderRef } from "@bpfleet/base";
import { startDaemon, type BytecodeOptions, type Daemon, type LogOptions } from "@bpfleet/daemon";
import { features } from "@bpfleet/features";
import {
  failSafeGrammar,
  hostAccesses,
  parseSeconds,
  readFailSafePorts,
  type FailSafePorts,
  type HostAccess,
} from "@bpfleet/kernel";
import { kinds } from "@bpfleet/kinds";
import { readProxies, usualImagePlaces } from "@bpfleet/oci/local";
import { parseConfig, type Config } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { Failure, SilentFailure } from "../failure.ts";
import { count } from "../manifests/render-issues.ts";
import { whileTelling } from "../output/progress.ts";
import { productVersion } from "../product.ts";
import { awaitImages, type ImagePatience } from "../up/await-images.ts";
import { parseMetricsAddress } from "../up/metrics-address.ts";
import { ResultTeller } from "../up/result-teller.ts";
import { tellPrograms } from "../up/tell-programs.ts";
import type { World } from "../world.ts";
import type { BpfdConfig } from "@bpfleet/loader";
import { mirrorsFlag, policyFlag } from "./image-access.ts";
import type { DefineCommand } from "./mod.ts";

/** Where the build puts the BPF objects of this checkout. */
const builtObjects = join(import.meta.dirname, "../../../../build/bpf/objects.json");
const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;

interface UpFlags {
  readonly metricsAddr?: string | undefined;
  readonly nodeName?: string | undefined;
  readonly objects?: string | undefined;
  readonly hostAccess?: string | undefined;
  readonly failSafePorts?: string | undefined;
  readonly dnsSeconds?: string | undefined;
  readonly graceSeconds?: string | undefined;
  readonly legacyTc?: true | undefined;
  readonly once?: true | undefined;
  readonly timeout: string;
  readonly log: string;
  readonly mirrors?: string | undefined;
  readonly policy?: string | undefined;
  readonly imageCheck?: string | undefined;
  readonly mapsGroup?: number | undefined;
  readonly mapsMode?: number | undefined;
  readonly bpfdConfig?: string | undefined;
}

export const defineUp: DefineCommand = (program, world) => {
  program
    .command("up")
    .summary("serve the declared objects on this node")
    .description(
      "Serve this node: put the declared objects into the kernel, keep them true, and answer the other commands. Ends with SIGTERM or ctrl-C; everything stays in force then, `ebpfctl cleanup` removes it.",
    )
    .option(
      "--metrics-addr <address>",
      "serve Prometheus metrics there: :9090, 127.0.0.1:9090 or unix:PATH (env: BPFLEET_METRICS_ADDR)",
    )
    .option(
      "--node-name <name>",
      "name of this node in status and metrics (env: BPFLEET_NODE_NAME, usually the host name)",
    )
    .option("--objects <file>", "list of the BPF objects (env: BPFLEET_OBJECTS, usually the built ones)")
    .option("--legacy-tc", "attach tc programs by cls_bpf filters even where the kernel has TCX")
    .option(
      "--host-access <word>",
      `whether this node reaches its pods whatever policies say: ${hostAccesses.join(", ")} (env: BPFLEET_HOST_ACCESS, usually auto, which is always)`,
    )
    .option(
      "--fail-safe-ports <ports>",
      "ports of this node itself that no policy closes: in:usual,tcp/8443;out:usual has one more open (env: BPFLEET_FAIL_SAFE_PORTS)",
    )
    .option(
      "--dns-seconds <seconds>",
      "names of DNS count at least so long, however short the TTL is (env: BPFLEET_DNS_SECONDS, usually 0)",
    )
    .option(
      "--grace-seconds <seconds>",
      "connections older than the first policy of a pod go on for so long from either end (env: BPFLEET_GRACE_SECONDS, usually 60)",
    )
    .addOption(mirrorsFlag)
    .addOption(policyFlag)
    .option(
      "--image-check <seconds>",
      "how often images with pull policy Always are asked for again, 0 is never (env: BPFLEET_IMAGE_CHECK, usually 300)",
    )
    .option("--maps-group <gid>", "group that may open the maps of brought programs", parseGroup)
    .option("--maps-mode <mode>", "mode of the pins of these maps, usually 0640", parseMode)
    .option(
      "--bpfd-config <file>",
      "serve bpfd's API as this bpfd.toml says: [tls], [grpc.endpoint] and [interfaces]; load what programs.d beside it declares",
    )
    .option("--once", "bring the kernel to what is declared and end; exit code 1 when something failed")
    .option("--timeout <duration>", "with --once: how long to wait for images that are being fetched", "1m")
    .option("--log <level>", `JSON lines on standard error: ${logLevels.join(", ")}`, "warn")
    .action(async (flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      const timeoutMs = parseDuration(flags.timeout);
      const interrupt = world.onInterrupt();
      const startedMs = world.clock.monotonicMs();
      await using closing = new AsyncDisposableStack();
      const onNotice = (notice: string) => world.err.write(`warning: ${notice}\n`);
      const bpfd = await readBpfd(flags, world);
      for (const notice of bpfd?.notices ?? []) onNotice(`${flags.bpfdConfig}: ${notice}`);
      const daemon = closing.use(
        await whileTelling(world, "starting", () =>
          startDaemon({ ...daemonOptions(flags, config, world), xdpModes: bpfd?.xdpModes }),
        ),
      );
      const teller = new ResultTeller((line) => world.out.write(`${line}\n`));
      closing.defer(daemon.onChange((results) => teller.tell(results)));
      const agent = closing.use(
        await startAgent({
          store: config.store,
          stateDir: config.state,
          daemon,
          features,
          kinds,
          clock: world.clock,
          onNotice,
        }),
      );
      if (flags.once !== true) {
        closing.use(await serveAgent(agent, config.agentSocket));
        const access = { group: flags.mapsGroup, mode: flags.mapsMode };
        closing.use(tellPrograms({ agent, daemon, socket: config.socket, access, onTrouble: onNotice }));
      }
      if (flags.once !== true && flags.bpfdConfig !== undefined && bpfd !== undefined) {
        const { store } = config;
        const path = resolve(world.cwd, flags.bpfdConfig);
        const { serveBpfd } = await import("../up/serve-bpfd.ts");
        closing.use(await serveBpfd(bpfd, { path, store, agent, clock: world.clock, onNotice }));
      }
      await whileTelling(world, "applying", () => settledOr(daemon, interrupt));
      const late = flags.once === true ? await fetchAll(agent, daemon, world, { timeoutMs, signal: interrupt }) : [];
      const report = await agent.report();
      world.out.write(`${readyLine(report, daemon, config, world.clock.monotonicMs() - startedMs)}\n`);
      if (flags.once === true) return endOnce(report, late, flags.timeout, world);
      if (!interrupt.aborted)
        await new Promise((resolve) => interrupt.addEventListener("abort", resolve, { once: true }));
      world.out.write("stopping; what is in force stays in force, `ebpfctl cleanup` removes it\n");
    });
};

async function readBpfd({ bpfdConfig }: UpFlags, { cwd }: World): Promise<BpfdConfig | undefined> {
  if (bpfdConfig === undefined) return undefined;
  const { readBpfdConfig } = await import("../up/serve-bpfd.ts");
  return readBpfdConfig(resolve(cwd, bpfdConfig));
}

function daemonOptions(flags: UpFlags, config: Config, world: World): Parameters<typeof startDaemon>[0] {
  const { env } = world;
  return {
    nodeName: flags.nodeName ?? (env["BPFLEET_NODE_NAME"] || hostname()),
    version: productVersion,
    bpffs: config.bpffs,
    state: config.state,
    socket: config.socket,
    objects: flags.objects ?? (env["BPFLEET_OBJECTS"] || builtObjects),
    features,
    metrics: parseMetricsAddress(flags.metricsAddr ?? (env["BPFLEET_METRICS_ADDR"] || undefined)),
    log: { level: parseLevel(flags.log) },
    flowLogFd: 1,
    mountBpffs: true,
    legacyTc: flags.legacyTc === true,
    policySettings: {
      hostAccess: parseHostAccess((flags.hostAccess ?? env["BPFLEET_HOST_ACCESS"]) || undefined),
      failSafePorts: parseFailSafe((flags.failSafePorts ?? env["BPFLEET_FAIL_SAFE_PORTS"]) || undefined),
      nameSeconds: secondsOf("dns-seconds", flags.dnsSeconds ?? env["BPFLEET_DNS_SECONDS"]),
      graceSeconds: secondsOf("grace-seconds", flags.graceSeconds ?? env["BPFLEET_GRACE_SECONDS"]),
    },
    bytecode: bytecodeOptions(flags, world),
    pinAccess: { group: flags.mapsGroup, mode: flags.mapsMode },
  };
}

function bytecodeOptions({ mirrors, policy, imageCheck }: UpFlags, { env, cwd }: World): BytecodeOptions {
  const named = (policy ?? env["BPFLEET_IMAGE_POLICY"]) || undefined;
  return {
    mirrors: resolve(cwd, (mirrors ?? env["BPFLEET_REGISTRIES"]) || usualImagePlaces.mirrors),
    proxies: readProxies(env),
    policy: resolve(cwd, named ?? usualImagePlaces.policy),
    mayLackPolicy: named === undefined,
    checkMs: parseCheck((imageCheck ?? env["BPFLEET_IMAGE_CHECK"]) || "300"),
  };
}

function parseCheck(text: string): number {
  if (!/^\d{1,7}$/.test(text))
    throw new Failure(`invalid argument ${JSON.stringify(text)} for "--image-check": give whole seconds, or 0`);
  const seconds = Number(text);
  return seconds === 0 ? Infinity : seconds * 1000;
}

function parseHostAccess(text: string | undefined): HostAccess | undefined {
  const word = hostAccesses.find((known) => known === text);
  if (text !== undefined && word === undefined)
    throw new Failure(
      `invalid argument ${JSON.stringify(text)} for "--host-access": give one of ${hostAccesses.join(", ")}`,
    );
  return word;
}

function parseFailSafe(text: string | undefined): FailSafePorts | undefined {
  if (text === undefined) return undefined;
  const { ports, mistakes } = readFailSafePorts(text);
  if (mistakes.length > 0)
    throw new Failure(
      `invalid argument ${JSON.stringify(text)} for "--fail-safe-ports": ${mistakes.join("; ")}: ${failSafeGrammar}`,
    );
  return ports;
}

function secondsOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  const seconds = parseSeconds(text);
  if (seconds === undefined)
    throw new Failure(`invalid argument ${JSON.stringify(text)} for "--${flag}": give whole seconds, 999999 at most`);
  return seconds;
}

function parseGroup(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("give the number of a group");
  return Number(text);
}

function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new InvalidArgumentError("give an octal mode such as 0640");
  return Number.parseInt(text, 8);
}

function parseLevel(text: string): LogOptions["level"] {
  const level = logLevels.find((known) => known === text);
  if (level === undefined)
    throw new Failure(`invalid argument ${JSON.stringify(text)} for "--log": give one of ${logLevels.join(", ")}`);
  return level;
}

async function settledOr(daemon: Daemon, interrupt: AbortSignal): Promise<void> {
  const interrupted = new Promise<void>((resolve) => {
    if (interrupt.aborted) resolve();
    interrupt.addEventListener("abort", () => resolve(), { once: true });
  });
  await Promise.race([daemon.settled(), interrupted]);
}

/** The line that says: from here on everything works. */
function readyLine(report: NodeReport, daemon: Daemon, config: Config, tookMs: number): string {
  const objects = report.objects.filter(({ madeFrom }) => madeFrom === undefined);
  const states = Map.groupBy(objects, ({ state }) => state);
  const counts = (["in-force", "waiting", "failed", "pending"] as const).flatMap((state) => {
    const number = states.get(state)?.length ?? 0;
    return number === 0 ? [] : [`${number} ${state}`];
  });
  const paused = daemon.results().isPaused ? "; paused: `ebpfctl resume` attaches everything" : "";
  return `ready in ${Math.round(tookMs)} ms: ${config.store} has ${count(objects.length, "object")}${counts.length === 0 ? "" : ` (${counts.join(", ")})`}, commands reach ${config.socket}${paused}`;
}

/** What is fetched may name more to fetch. */
async function fetchAll(
  agent: Agent,
  daemon: Daemon,
  world: World,
  patience: ImagePatience,
): Promise<readonly string[]> {
  const endMs = world.clock.monotonicMs() + patience.timeoutMs;
  for (;;) {
    const timeoutMs = Math.max(0, endMs - world.clock.monotonicMs());
    const late = await whileTelling(world, "fetching images", () => awaitImages(daemon, { ...patience, timeoutMs }));
    await agent.sync();
    if (late.length > 0 || (await awaitImages(daemon, { ...patience, timeoutMs: 0 })).length === 0) return late;
  }
}

function endOnce(report: NodeReport, late: readonly string[], timeout: string, world: World): void {
  for (const name of late)
    world.err.write(`error: ${name} is still being fetched after ${timeout}; give a longer --timeout\n`);
  const failed = report.objects.filter(({ state, madeFrom }) => state === "failed" && madeFrom === undefined);
  for (const { ref, messages } of failed) world.err.write(`error: ${renderRef(ref)}: ${messages[0] ?? "failed"}\n`);
  if (report.trouble !== undefined) throw new Failure(report.trouble);
  if (late.length > 0 || failed.length > 0 || report.broken.length > 0) throw new SilentFailure();
}
