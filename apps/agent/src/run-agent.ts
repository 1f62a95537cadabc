import { AgentHealth, serveAgent, startAgent, startClusterAgent, type Agent } from "@bpfleet/agent";
import { errorText, usePlainHeaders, type Clock } from "@bpfleet/base";
import { RemoteDaemon } from "@bpfleet/daemon/client";
import { features, objectLayouts as layouts } from "@bpfleet/features";
import { kinds } from "@bpfleet/kinds";
import { connectKube, loadAccess, serveHealth } from "@bpfleet/kube-client";
import { logLevels, version, type AgentConfig, type LogLevel } from "./options.ts";

const clock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

/** Until SIGTERM or SIGINT; the exit code. The daemon keeps what it was told. */
export async function runAgent(config: AgentConfig, env: NodeJS.ProcessEnv): Promise<number> {
  usePlainHeaders();
  const ending = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => ending.abort(new Ended(signal)));
  const log = logger(config.logLevel);
  try {
    await serve(config, env, log, ending.signal);
    return 0;
  } catch (error) {
    if (error instanceof Ended) return 0;
    log("error", errorText(error));
    return 1;
  }
}

class Ended extends Error {}

type Log = (level: Exclude<LogLevel, "silent">, message: string, fields?: Readonly<Record<string, unknown>>) => void;

async function serve(config: AgentConfig, env: NodeJS.ProcessEnv, log: Log, signal: AbortSignal): Promise<void> {
  const { nodeName, planSocket, tls } = config;
  await using closing = new AsyncDisposableStack();
  const health = new AgentHealth(version, clock.now());
  if (config.health !== undefined) closing.use(await serveHealth(config.health, health));
  let isReached = false;
  const onNotice = (notice: string): void => {
    health.notices++;
    if (!isReached) health.enters(`starting: ${notice}`);
    log("warn", notice);
  };
  log("info", "reaching the daemon", { socket: planSocket, node: nodeName });
  const daemon = closing.use(
    await RemoteDaemon.connect({ socket: planSocket, tls, version, layouts, onNotice, signal }),
  );
  isReached = true;
  health.reaches(() => daemon.isConnected);
  health.enters("starting: not everything that is declared was read yet");
  log("info", "the daemon answers", { ...daemon.version() });
  closing.use(await start(config, env, daemon, health, onNotice, signal));
  health.enters(undefined);
  log("info", "serving");
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
  log("info", "ending; the daemon keeps everything in force");
}

async function start(
  { directory, socket, nodeName, kubeconfig, followsCilium, followsCalico }: AgentConfig,
  env: NodeJS.ProcessEnv,
  daemon: RemoteDaemon,
  health: AgentHealth,
  onNotice: (notice: string) => void,
  signal: AbortSignal,
): Promise<Agent> {
  const parts = { daemon, features, kinds, clock, onNotice };
  await using closing = new AsyncDisposableStack();
  if (directory !== undefined) {
    const { store, state } = directory;
    const agent = closing.use(await startAgent({ ...parts, store, stateDir: state }));
    closing.use(await serveAgent(agent, socket));
    return ending(agent, closing.move());
  }
  const access = loadAccess({ env, ...(kubeconfig !== undefined && { kubeconfig }) });
  const client = closing.use(connectKube(access));
  const agent = closing.use(
    await startClusterAgent({
      ...parts,
      client,
      nodeName,
      version,
      follow: { cilium: followsCilium, calico: followsCalico },
      signal,
      onReports: ({ reports, results }) => health.reports(reports, results),
    }),
  );
  try {
    closing.use(await serveAgent(agent, socket));
  } catch (error) {
    // For people who look; nothing that is in force depends on it.
    onNotice(`answer ebpfctl at ${socket}: ${errorText(error)}`);
  }
  return ending(agent, closing.move());
}

/** The agent, which ends with all that it needs. */
function ending(agent: Agent, owned: AsyncDisposableStack): Agent {
  return {
    report: () => agent.report(),
    sync: () => agent.sync(),
    policyState: () => agent.policyState(),
    adviseEdit: (request) => agent.adviseEdit(request),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** JSON lines on standard error. */
function logger(least: LogLevel): Log {
  return (level, message, fields) => {
    if (logLevels.indexOf(level) < logLevels.indexOf(least)) return;
    process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`);
  };
}
