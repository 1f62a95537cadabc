import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { AnyObject } from "@bpfleet/kube";
import { until, type FleetCluster } from "./fleet-cluster.ts";

const sources = [process.execPath, join(import.meta.dirname, "../../apps/operator/src/main.ts")];
const lease = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  namespace: "kube-system",
  name: "podconfigmap-controller-lock",
} as const;
const theSet = {
  group: "apps",
  version: "v1",
  plural: "daemonsets",
  namespace: "kube-system",
  name: "bpfd-daemon",
} as const;

/** Replicas of the operator, each a process as its container runs it; they end with this one. */
export class Replicas implements Disposable {
  readonly #cluster: FleetCluster;
  readonly #program: readonly string[];
  readonly #kubeconfig: string;
  readonly #running = new Map<string, ChildProcess>();
  readonly #logs = new Map<string, string>();

  /** `program` is the sources unless told otherwise. */
  constructor(cluster: FleetCluster, program: readonly string[] = sources) {
    this.#cluster = cluster;
    this.#program = program;
    this.#kubeconfig = cluster.kubeconfigOf("podconfigmap-controller");
  }

  /** `leases` are the documented ones unless told otherwise. */
  start(name: string, leases: Readonly<Record<string, string>> = {}): void {
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...this.#program], {
      stdio: ["ignore", "ignore", "pipe"],
      env: {
        PATH: process.env["PATH"],
        KUBECONFIG: this.#kubeconfig,
        POD_NAME: name,
        METRICS_ADDR: "127.0.0.1:0",
        LEADER_ELECTION_ENABLED: "true",
        LEADER_ELECTION_LEASE_DURATION: "15s",
        LEADER_ELECTION_RENEW_DEADLINE: "10s",
        LEADER_ELECTION_RETRY_PERIOD: "2s",
        LEADER_ELECTION_LOCK_NAME: lease.name,
        LEADER_ELECTION_LOCK_NAMESPACE: lease.namespace,
        ...leases,
      },
    });
    this.#running.set(name, child);
    this.#logs.set(name, "");
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      if (this.#running.get(name) === child) this.#logs.set(name, (this.#logs.get(name) ?? "") + text);
    });
  }

  /** Its process runs. */
  serves(name: string): Promise<true> {
    return this.#says(name, "serving");
  }

  /** It knows who leads, and follows what it needs to take over. */
  async stands(name: string): Promise<void> {
    await this.#says(name, "the leader is");
    await sleep(3000);
  }

  #says(name: string, text: string): Promise<true> {
    return until(`${name} says: ${text}`, () => (this.#logs.get(name)?.includes(text) === true ? true : undefined));
  }

  /** What a leader said of the one that it follows; the last, where it led more than once. */
  async saysOfTheOneBefore(name: string): Promise<string> {
    const told = (): string | undefined =>
      this.#logs
        .get(name)
        ?.match(/[^"]* leads: [^"]*/g)
        ?.at(-1);
    return until(`${name} says whom it follows`, told);
  }

  /** The newest event of the Lease by a replica. */
  async eventBy(name: string): Promise<string> {
    interface LeaseEvent extends AnyObject {
      readonly reason?: string;
      readonly note?: string;
      readonly eventTime?: string;
      readonly regarding?: { readonly kind?: string; readonly name?: string };
    }
    const type = { group: "events.k8s.io", version: "v1", plural: "events", namespace: lease.namespace } as const;
    return until(`there is an event of the Lease by ${name}`, async () => {
      const { items } = await this.#cluster.admin.list<LeaseEvent>(type);
      const own = items.filter(
        ({ regarding, note }) => regarding?.kind === "Lease" && note?.startsWith(`${name} leads: `) === true,
      );
      const newest = own.toSorted((a, b) => ((a.eventTime ?? "") < (b.eventTime ?? "") ? 1 : -1))[0];
      return newest === undefined ? undefined : `${newest.reason} ${newest.note}`;
    });
  }

  kill(name: string, signal: "SIGTERM" | "SIGKILL"): void {
    this.#running.get(name)?.kill(signal);
  }

  async ended(name: string): Promise<void> {
    const child = this.#running.get(name);
    if (child !== undefined && child.exitCode === null && child.signalCode === null)
      await new Promise((resolve) => child.once("exit", resolve));
    this.#running.delete(name);
  }

  async holder(): Promise<string | undefined> {
    interface Lease extends AnyObject {
      readonly spec?: { readonly holderIdentity?: string };
    }
    return (await this.#cluster.admin.get<Lease>(lease)).spec?.holderIdentity;
  }

  leads(name: string): Promise<true> {
    return until(`${name} leads`, async () =>
      (await this.holder().catch(() => undefined)) === name ? true : undefined,
    );
  }

  /** Ends when there is a DaemonSet. */
  async acted(): Promise<void> {
    await until("there is a DaemonSet", async () => {
      const set = await this.#cluster.admin.find(theSet);
      return set === undefined ? undefined : true;
    });
  }

  /** Deletes the DaemonSet; resolves with the seconds from `begin` until somebody has made it anew. */
  async secondsToAct(begin: number): Promise<number> {
    await this.#cluster.admin.delete(theSet);
    await this.acted();
    return (performance.now() - begin) / 1000;
  }

  [Symbol.dispose](): void {
    for (const replica of this.#running.values()) replica.kill("SIGKILL");
  }
}
