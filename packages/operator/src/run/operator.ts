import type { DefinedKind } from "@bpfleet/kinds";
import type { ElectionConfig } from "@bpfleet/kube";
import {
  createEventRecorder,
  createLeaderElector,
  serveHealth,
  systemTiming,
  type EventRecorder,
  type HealthServer,
  type KubeClient,
  type LeaderElector,
  type Timing,
} from "@bpfleet/kube-client";
import { AddressPublisher } from "../addresses/address-publisher.ts";
import { CertificateKeeper } from "../certificates/certificate-keeper.ts";
import { CrdKeeper } from "../crds/crd-keeper.ts";
import { isDeclared, isOfOthers } from "../desired/access.ts";
import type { DefaultImages } from "../desired/settings.ts";
import { FleetKeeper } from "../fleet/fleet-keeper.ts";
import { removeFromCluster } from "../fleet/remove-from-cluster.ts";
import { tellUndeployed } from "../fleet/tell-undeployed.ts";
import { counter, gauge, renderMetrics } from "../metrics/operator-metrics.ts";
import { IndexKeeper } from "../index/index-keeper.ts";
import { AgentWatch } from "../nodes/agent-watch.ts";
import { ConfigFinalizer } from "../nodes/config-finalizer.ts";
import { NodeCleaner } from "../nodes/node-cleaner.ts";
import { NodePrograms } from "../nodes/node-programs.ts";
import { NodeRegister } from "../nodes/node-register.ts";
import { Aggregator } from "../status/aggregator.ts";
import type { Pace } from "../status/pace.ts";
import { WebhookRunner } from "../webhook/webhook-runner.ts";
import { Activity } from "./activity.ts";
import type { Part } from "./part.ts";
import { RefusedAccount } from "./refused-account.ts";
import { tellFollowed } from "./tell-followed.ts";
import { Telling, type LogLine } from "./telling.ts";
import { whyLeaderless } from "./why-leaderless.ts";

export interface OperatorOptions {
  readonly client: KubeClient;
  readonly kinds: readonly DefinedKind[];
  readonly images: DefaultImages;
  readonly election: ElectionConfig;
  /** Where /metrics, /healthz and /readyz are served; nowhere when left out. */
  readonly metrics?: { readonly host?: string | undefined; readonly port: number } | undefined;
  /** Where admission is served; without it API servers are not told to ask. */
  readonly webhook?: { readonly host?: string | undefined; readonly port: number } | undefined;
  readonly log: (line: LogLine) => void;
  readonly timing?: Timing | undefined;
  readonly pace?: Partial<Pace> | undefined;
  readonly nodeGraceMs?: number | undefined;
  /** See AgentWatch. */
  readonly agentGraceMs?: number | undefined;
  /** See IndexKeeper. */
  readonly indexLingerMs?: number | undefined;
  readonly certificates?:
    | { readonly leafDays?: number; readonly everyMs?: number; readonly overlapMs?: number }
    | undefined;
}

const lastEventsMs = 2000;

/** One replica. */
export interface Operator extends AsyncDisposable {
  readonly isLeader: boolean;
  readonly leader: string | undefined;
  readonly metricsPort: number | undefined;
  /** Undefined until there is a certificate. */
  readonly webhookPort: number | undefined;
  readonly certificates: CertificateKeeper;
  metrics(): string;
  /** Gives the lease back, so that the other replica acts at once; then ends. */
  stop(): Promise<void>;
}

/** Follows the cluster, and acts while it leads. */
export async function startOperator(options: OperatorOptions): Promise<Operator> {
  const operator = new RunningOperator(options);
  await operator.start();
  return operator;
}

class RunningOperator implements Operator {
  readonly certificates: CertificateKeeper;
  readonly #options: OperatorOptions;
  readonly #telling: Telling;
  readonly #account = new RefusedAccount();
  readonly #recorder: EventRecorder;
  readonly #nodes: NodeRegister;
  readonly #programs: NodePrograms;
  readonly #parts: readonly Part[];
  readonly #fleet: FleetKeeper;
  readonly #aggregator: Aggregator;
  readonly #addresses: AddressPublisher;
  readonly #elector: LeaderElector;
  #webhook: WebhookRunner | undefined;
  #health: HealthServer | undefined;
  #running: Promise<void> | undefined;
  #ended: Error | undefined;
  #electionFault: Error | undefined;

  constructor(options: OperatorOptions) {
    this.#options = options;
    const { client, kinds, images, election, log, timing = systemTiming } = options;
    this.#recorder = createEventRecorder(client, {
      controller: "bpfleet.io/operator",
      instance: election.identity,
      timing,
      onFault: (error) => this.#telling.fault(error),
    });
    this.#telling = new Telling(log, this.#recorder);
    const shared = { client, kinds, teller: this.#telling, timing, activity: new Activity() };
    this.#nodes = new NodeRegister(client, this.#telling);
    this.#programs = new NodePrograms(client, kinds, this.#telling);
    const { overlapMs, ...certificates } = options.certificates ?? {};
    this.certificates = new CertificateKeeper({
      ...shared,
      ...certificates,
      plan: overlapMs === undefined ? {} : { overlapMs },
    });
    const declared = kinds.filter((kind) => isDeclared(kind) && kind.crd() !== undefined);
    const fleet = (this.#fleet = new FleetKeeper({
      ...shared,
      images,
      webhookBundle: () => (options.webhook === undefined ? undefined : this.certificates.webhookCertificate()?.bundle),
      onFollows: () => this.#aggregator.look(),
      removeRest: async (signal, undeployed) => {
        await tellUndeployed({ ...shared, signal }, declared, undeployed);
        await this.certificates.removeAll(signal);
        await removeFromCluster({ ...shared, signal });
      },
    }));
    const isFollowed = (kind: DefinedKind): boolean => {
      if (!isOfOthers(kind)) return true;
      return (kind.group === "cilium.io" ? fleet.follows?.cilium : fleet.follows?.calico) === true;
    };
    this.#aggregator = new Aggregator({
      ...shared,
      kinds: declared,
      isFollowed,
      isLeft: (kind) => fleet.follows !== undefined && !isFollowed(kind),
      nodes: this.#nodes,
      programs: this.#programs,
      daemonSet: () => fleet.daemonSet,
      hasPod: (node) => agents.hasPod(node),
      pace: options.pace,
    });
    const agents = new AgentWatch({
      ...shared,
      nodes: this.#nodes,
      states: this.#aggregator.states,
      graceMs: options.agentGraceMs,
    });
    this.#addresses = new AddressPublisher({ ...shared, nodes: this.#nodes });
    this.#parts = [
      fleet,
      this.certificates,
      new CrdKeeper({ ...shared, onSchema: (kind) => this.#aggregator.lookAgain(kind) }),
      this.#aggregator,
      new ConfigFinalizer({ ...shared, programs: this.#programs }),
      new NodeCleaner({
        ...shared,
        nodes: this.#nodes,
        programs: this.#programs,
        states: this.#aggregator.states,
        graceMs: options.nodeGraceMs,
      }),
      agents,
      this.#addresses,
      new IndexKeeper({
        ...shared,
        kinds: kinds.filter(isDeclared),
        collections: this.#aggregator.collections,
        nodes: this.#nodes,
        lingerMs: options.indexLingerMs,
      }),
    ];
    if (options.webhook !== undefined) {
      this.certificates.onWebhookCertificate(() => fleet.look());
      this.#webhook = new WebhookRunner({
        ...shared,
        ...options.webhook,
        certificates: this.certificates,
        nodes: this.#nodes,
        pods: () => this.#addresses.pods(),
      });
    }
    this.#elector = createLeaderElector(client, election, {
      timing,
      onLead: (lease, followed) => {
        const { message, happening } = tellFollowed(election.identity, followed);
        log({ level: "info", message });
        this.#telling.happened({ apiVersion: lease.apiVersion, kind: lease.kind, metadata: lease.metadata }, happening);
      },
      onLeader: (identity) => this.#telling.note(`the leader is ${identity}`),
      onFault: (error) => {
        this.#electionFault = error;
        this.#account.see(error, timing.monotonicMs());
        this.#telling.fault(error);
      },
    });
  }

  get isLeader(): boolean {
    return this.#elector.isLeader;
  }

  get leader(): string | undefined {
    return this.#elector.leader;
  }

  get metricsPort(): number | undefined {
    return this.#health?.port;
  }

  get webhookPort(): number | undefined {
    return this.#webhook?.port;
  }

  async start(): Promise<void> {
    const { metrics, timing = systemTiming } = this.#options;
    if (metrics !== undefined)
      this.#health = await serveHealth(metrics, {
        metrics: () => this.metrics(),
        whyUnhealthy: () => this.#ended?.message ?? this.#account.why(timing.monotonicMs()),
        whyUnready: () =>
          this.#ended?.message ?? whyLeaderless(this.#options.election, this.#elector.leader, this.#electionFault),
      });
    this.#running = this.#elector
      .run((signal) => this.#lead(signal))
      .catch((error: unknown) => {
        this.#ended = error instanceof Error ? error : new Error(String(error));
        this.#telling.fault(this.#ended);
      });
  }

  metrics(): string {
    const { reports, objects, waiting } = this.#aggregator.sizes;
    const { pods, slices } = this.#addresses.sizes;
    return renderMetrics([
      ...this.#telling.families(),
      gauge("bpfleet_operator_leader", "1 on the replica that acts, else 0.", this.isLeader ? 1 : 0),
      gauge(
        "bpfleet_operator_refused_objects",
        "Objects of ours that the API server refuses as they are wanted, and that stay as they are.",
        this.#fleet.refused,
      ),
      gauge("bpfleet_operator_nodes", "Nodes of the cluster.", this.#nodes.size),
      gauge("bpfleet_operator_node_reports", "Nodes that told what became of the objects on them.", reports),
      gauge("bpfleet_operator_objects", "Objects whose status is kept.", objects),
      gauge("bpfleet_operator_statuses_waiting", "Objects whose status is about to be looked at.", waiting),
      gauge("bpfleet_operator_pods", "Pods whose addresses are published.", pods),
      gauge("bpfleet_operator_address_slices", "Objects in which they are.", slices),
      gauge("process_resident_memory_bytes", "Memory of this process.", process.memoryUsage.rss()),
      counter("process_cpu_seconds_total", "CPU time of this process.", cpuSeconds()),
    ]);
  }

  async stop(): Promise<void> {
    await this.#elector.stop();
    await this.#running;
    await Promise.all([...this.#parts, this.#nodes, this.#programs].map((part) => part[Symbol.asyncDispose]()));
    // The lease is given back already: nobody waits for events that cannot be written.
    const { timing = systemTiming } = this.#options;
    const written = new AbortController();
    await Promise.race([this.#recorder[Symbol.asyncDispose](), timing.sleep(lastEventsMs, written.signal)]);
    written.abort();
    await this.#webhook?.[Symbol.asyncDispose]();
    await this.#health?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Each part for itself: that one of them cannot go on stops none of the others. */
  async #lead(signal: AbortSignal): Promise<void> {
    this.#telling.note("this replica leads");
    const lead = async (part: Part): Promise<void> => {
      while (!signal.aborted) {
        try {
          await part.lead(signal);
        } catch (error) {
          if (signal.aborted) return;
          this.#telling.failed(part.name, { key: "", error });
          await (this.#options.timing ?? systemTiming).sleep(1000, signal);
        }
      }
    };
    await Promise.all(this.#parts.map(lead));
    this.#telling.note("this replica does not lead any more");
  }
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
