import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { errorText, tellEach, type Clock } from "@bpfleet/base";
import { gracesKey, withoutGrace } from "@bpfleet/features";
import { mapIdentity, noEntries, parseHookKey, type ItemResult, type KernelPort, type NodePlan } from "@bpfleet/kernel";
import { isBpffs, NodeKernel } from "@bpfleet/native";
import { ContentStore } from "@bpfleet/oci/local";
import { pino, type Logger } from "pino";
import { ApiServer } from "./api/api-server.ts";
import { BytecodeWatch } from "./bytecode/bytecode-watch.ts";
import { AnnouncedPods } from "./cni/announced-pods.ts";
import { CniServer, cniSocketOf } from "./cni/cni-server.ts";
import { KnownPods } from "./cni/known-pods.ts";
import { PodGate } from "./cni/pod-gate.ts";
import { ContentCollector, objectsInUse } from "./bytecode/content-collector.ts";
import type { AgentAccess, Daemon, DaemonOptions, LogOptions } from "./daemon.ts";
import { NodeFactsWatch } from "./facts/node-facts.ts";
import { BpfObjects } from "./facts/objects.ts";
import { WorkLoop } from "./loop/work-loop.ts";
import { Firewalls } from "./metrics/firewalls.ts";
import { Histogram } from "./metrics/histogram.ts";
import { MetricsServer } from "./metrics/metrics-server.ts";
import { NodeMachine } from "./machine/node-machine.ts";
import { SharedMaps } from "./machine/shared-maps.ts";
import { NodeDaemon, type FactsListener } from "./node-daemon.ts";
import { lockFolder } from "./node-lock.ts";
import { RuleHistory } from "./rules/rule-history.ts";
import { NodeState } from "./state/node-state.ts";
import { rememberOwnMount } from "./state/own-mount.ts";

const applyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const pollMs = 1000;
const clock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

/**
 * Starts the daemon: adopts what is in the kernel, applies the last plan where it is missing, and serves
 * the API. Resolves when it is ready for plans; throws KernelError, and leaves nothing running, when it
 * cannot work.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  await using closing = new AsyncDisposableStack();
  const log = openLog(options.log);
  const onTrouble = (error: unknown): void => log.warn({ why: errorText(error) }, "trouble");

  mkdirSync(options.state, { recursive: true, mode: 0o700 });
  closing.use(lockFolder(options.state));
  const state = new NodeState(options.state, options.bpffs);
  const remembered = await state.load();
  const objects = new BpfObjects(options.objects);

  const factsListeners = new Set<FactsListener>();
  const announced = new AnnouncedPods();
  const facts = closing.use(
    await NodeFactsWatch.start({
      nodeName: options.nodeName,
      objects: objects.facts,
      hashSeed: remembered.hashSeed,
      pinRoot: options.bpffs,
      pollMs,
      announced,
      policySettings: options.policySettings,
      onTrouble,
      onChange: (after, places) => tellEach(factsListeners, onTrouble, after, places),
    }),
  );
  if (remembered.plan !== undefined) facts.plannedAs(remembered.plan);
  const { store = join(options.state, "content"), ...places } = options.bytecode ?? {};
  const bytecode = closing.use(
    new BytecodeWatch({ store, ...places, onTrouble, onChange: (found) => facts.bytecodeIs(found) }),
  );
  const { chainInline, chainStub, tcx } = facts.get().kernel;
  const kernel =
    options.kernel ??
    (await openKernel(options, objects, bytecode, { inline: chainInline, stub: chainStub }, onTrouble, closing));

  // The bpffs may have been mounted just now.
  facts.look();

  const applySeconds = new Histogram(applyBuckets);
  const firewalls = new Firewalls();
  const loop = new WorkLoop({
    kernel,
    state,
    remembered,
    clock,
    log,
    driftMs: (options.driftSeconds ?? 10) * 1000,
    modes: () => ({
      inline: chainInline.has,
      stub: chainStub.has,
      legacyTc: options.legacyTc === true || !tcx.has,
      xdpModes: options.xdpModes,
    }),
    onInForce: (ms) => applySeconds.observe(ms / 1000),
    onFailed: (plan, failures) => firewalls.failed(plan, failures),
  });
  closing.defer(() => loop.stop());
  factsListeners.add((_, places) => loop.placesChanged(places));
  const collector = closing.use(
    new ContentCollector({
      store: new ContentStore(store),
      // Without a complete plan nobody knows what is needed.
      inUse: () => (loop.results().isComplete ? objectsInUse(loop.plan(), facts.get()) : undefined),
      onTrouble,
      now: () => clock.now(),
    }),
  );
  loop.onChange(() => collector.changed());
  loop.onChange(({ items }) => facts.watchHeld(heldInterfaces(items)));
  const gate = new PodGate({
    facts: () => facts.get(),
    results: () => loop.results(),
    endGrace: (ifindex) => endGrace(kernel, loop.plan(), ifindex),
  });
  const known = closing.use(new KnownPods(join(options.state, "cni-known"), onTrouble));
  gate.onWished((wished) => known.are(wished));
  factsListeners.add(() => gate.look());
  loop.onChange(() => gate.look());
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const parts = {
    gate,
    history: new RuleHistory(state.rules, boot, clock.now()),
    version: options.version,
    nodeName: options.nodeName,
    kernel,
    features: options.features,
    loop,
    facts,
    bytecode,
    factsListeners,
    writeLog: options.flowLogFd === undefined ? undefined : lineWriter(options.flowLogFd),
    applySeconds,
    firewalls,
    clock,
    onTrouble,
  };
  loop.start();

  const owned = closing.move();
  const daemon = new NodeDaemon({ ...parts, closing: owned });
  try {
    const machine = new NodeMachine({
      kernel,
      plan: () => loop.plan(),
      facts: () => facts.get(),
      results: () => loop.results(),
      loadObject: async (name) => (await objects.load(name)) ?? (await bytecode.load(name)),
    });
    owned.use(await ApiServer.listen(options.socket, daemon, machine));
    owned.use(await serveCni(options.socket, { announced, facts, gate }, log));
    if (options.pinAccess !== undefined) {
      const { group, mode = 0o640 } = options.pinAccess;
      // To connect to a socket is to write to it: whoever may read the pins may.
      const access = { group, mode: 0o600 | (mode & 0o040 ? 0o060 : 0) | (mode & 0o004 ? 0o006 : 0) };
      const socket = `${options.socket.replace(/\.sock$/, "")}-maps.sock`;
      owned.use(await ApiServer.listenFor(access, socket, new SharedMaps(machine, kernel)));
    }
    if (options.agent !== undefined) owned.use(await servePlans(daemon, options.agent, log));
    if (options.metrics !== undefined) owned.use(await MetricsServer.listen(options.metrics, () => daemon.metrics()));
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  return daemon;
}

/** Beside the API: who starts pods asks there, and is of no other business. */
function serveCni(
  socket: string,
  { announced, facts, gate }: { announced: AnnouncedPods; facts: NodeFactsWatch; gate: PodGate },
  log: Logger,
): Promise<AsyncDisposable> {
  return CniServer.listen({
    socket: cniSocketOf(socket),
    host: {
      announce: (pod) => {
        announced.add(pod);
        return facts.announcementsChanged(pod);
      },
      withdraw: (attachment) => {
        const pod = announced.remove(attachment);
        if (pod !== undefined) void facts.announcementsChanged(pod);
      },
      keepOnly: (valid) => announced.keepOnly(valid),
      admit: (pod, timeoutMs, signal) => gate.admit(pod, timeoutMs, signal),
      wait: (pod, timeoutMs, signal) => gate.wait(pod, timeoutMs, signal),
    },
    onAnswer: (question, answer, ms) => {
      if (question.command !== "ADD") return;
      const { namespace, name } = question.announced.pod;
      const level = answer.is === "in-force" || answer.is === "free" ? "info" : "warn";
      log[level]({ pod: `${namespace}/${name}`, ...answer, ms: Math.round(ms) }, "pod announced");
    },
  });
}

async function endGrace(kernel: KernelPort, plan: NodePlan, ifindex: number): Promise<void> {
  const spec = plan.maps.find(({ key }) => key === gracesKey);
  if (spec !== undefined) await kernel.writeMap(mapIdentity(spec), withoutGrace(ifindex), noEntries);
}

/** Loaded where an agent is served: in one process with its agent a daemon has no use for it. */
async function servePlans(
  daemon: NodeDaemon,
  { socket, tls, group }: AgentAccess,
  log: Logger,
): Promise<AsyncDisposable> {
  // What the document of EBPFProgram looks for in this log.
  log.info("Hardware acceleration is not served yet: programs run on the processors of the node");
  const { PlanServer } = await import("./plan-service/plan-server.ts");
  return PlanServer.start(daemon, {
    socket,
    tls,
    access: { group, mode: group === undefined ? 0o600 : 0o660 },
    onAgent: (what, version) => log.info({ version }, `agent ${what}`),
    onTrouble: (error) => log.warn({ why: errorText(error) }, "trouble"),
  });
}

async function openKernel(
  options: DaemonOptions,
  objects: BpfObjects,
  bytecode: BytecodeWatch,
  chainOffers: NonNullable<Parameters<typeof NodeKernel.open>[0]["chainOffers"]>,
  onTrouble: (error: unknown) => void,
  closing: AsyncDisposableStack,
): Promise<KernelPort> {
  const wasThere = existsSync(options.bpffs) && isBpffs(options.bpffs);
  const kernel = await NodeKernel.open({
    bpffsDir: options.bpffs,
    loadObject: async (name) => (await objects.load(name)) ?? (await bytecode.load(name)),
    pinAccess: options.pinAccess,
    types: join(dirname(options.socket), "btf"),
    mount: options.mountBpffs ?? false,
    chainOffers,
  });
  try {
    if (!wasThere) rememberOwnMount(options.state, options.bpffs);
  } catch (error) {
    // Then `ebpfctl cleanup` leaves it mounted.
    onTrouble(error);
  }
  closing.use(lockFolder(options.bpffs));
  return kernel;
}

/** Where others have the XDP program. */
function heldInterfaces(items: readonly ItemResult[]): ReadonlySet<string> {
  const points = items.flatMap(({ item, key, error }) =>
    item === "hook" && error?.code === "busy" ? [parseHookKey(key)] : [],
  );
  return new Set(points.flatMap((point) => (point?.hook === "xdp" ? [point.interface] : [])));
}

/** Never waits: what a reader does not take is left out. */
function lineWriter(fd: number): (lines: string) => void {
  const destination = pino.destination({ dest: fd, sync: false, maxLength: 1 << 20 });
  destination.on("error", () => undefined);
  return (lines) => void destination.write(lines);
}

/** Lines leave at once: what was decided before a crash can be read after it. */
function openLog({ level, fd }: LogOptions = { level: "info" }): Logger {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: fd ?? 2, sync: true }),
  );
}
