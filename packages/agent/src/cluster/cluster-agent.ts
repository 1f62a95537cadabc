import { canonicalJson, errorText } from "@bpfleet/base";
import type { DaemonVersion } from "@bpfleet/daemon";
import { emptyPlan, type Inventory, type NodePlan } from "@bpfleet/kernel";
import { isOfFacts, type DefinedKind } from "@bpfleet/kinds";
import { createEventRecorder, type KubeClient, type Timing } from "@bpfleet/kube-client";
import type { AgentDaemon, AgentParts, ToldReports } from "../agent-options.ts";
import { startObjectAgent, type Agent } from "../agent.ts";
import { followedKinds, madeKinds, type FollowedGroups } from "./cluster-kinds.ts";
import { ClusterRecords, type EarlierReports } from "./cluster-records.ts";
import { ClusterStore } from "./cluster-store.ts";
import { MadeObjects } from "./made-objects.ts";
import { unwrittenOf } from "./node-results.ts";
import { NodeStateWriter } from "./node-state-writer.ts";
import { EventTeller } from "./event-teller.ts";
import { KubeletPods } from "./pod-cgroup-paths.ts";
import { Repeat } from "./repeat.ts";

export interface ClusterAgentOptions extends Omit<AgentParts, "daemon" | "kinds"> {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** Of the product. */
  readonly version: string;
  readonly kinds: readonly DefinedKind[];
  readonly follow: FollowedGroups;
  readonly daemon: AgentDaemon & { version(): DaemonVersion; inventory(): Promise<Inventory> };
  readonly timing?: Timing | undefined;
  /** Ends the wait for an API server. */
  readonly signal?: AbortSignal | undefined;
  /** Told each time what became of objects may be different. */
  readonly onReports?: ((told: ToldReports) => void) | undefined;
  /** See NodeStateWriter. */
  readonly refreshMs?: number | undefined;
  /** See KindFollowers. */
  readonly lookMs?: number | undefined;
}

/** Objects that were made are looked at for so long before the first plan. */
const earlierMs = 10_000;
const madePaceMs = 200;
/** Between two looks at whether everything is followed. */
const syncLooksMs = 5000;

/** The agent of one node of a cluster: resolves when everything that is declared was read and planned for. */
export async function startClusterAgent(options: ClusterAgentOptions): Promise<Agent> {
  const { client, nodeName, kinds, daemon, clock, timing, signal, version } = options;
  await using closing = new AsyncDisposableStack();
  const onNotice = (notice: string): void => options.onNotice?.(notice);
  const store = closing.use(
    new ClusterStore({
      client,
      nodeName,
      kinds: followedKinds(kinds, options.follow),
      timing,
      signal,
      onNotice,
      onFollow: (kind) => made.followMadeOf(kind),
      lookMs: options.lookMs,
    }),
  );
  let told: ToldReports | undefined;
  let unwritten = "";
  const plan = (): NodePlan => told?.plan ?? emptyPlan;
  const whyNotSynced = (): string | undefined => store.fault()?.message;
  const nodeState = closing.use(
    new NodeStateWriter({
      client,
      nodeName,
      version,
      clock,
      daemon,
      plan,
      node: () => store.find({ group: "", kind: "Node", namespace: "", name: nodeName }),
      whyNotSynced,
      onNotice,
      refreshMs: options.refreshMs,
      nodes: () => store.nodes,
    }),
  );
  const made: MadeObjects = closing.use(
    new MadeObjects({
      client,
      nodeName,
      kinds: madeKinds(kinds),
      timing,
      onNotice,
      onChange: () => syncs.ask(),
    }),
  );
  const looks = setInterval(() => nodeState.lookAtSync(), syncLooksMs);
  looks.unref();
  closing.defer(() => clearInterval(looks));
  let failure = "";
  const syncs: Repeat = closing.use(
    new Repeat({
      paceMs: madePaceMs,
      run: async () => {
        if (told === undefined) return;
        const { reports, results } = told;
        try {
          await made.sync(reports, results.isComplete && results.isSettled && results.trouble === undefined);
        } finally {
          if (unwrittenText(told) !== unwritten) tellNodeState(told);
        }
        failure = "";
      },
      onFailure: (error) => {
        const text = errorText(error);
        if (text !== failure) onNotice(text);
        failure = text;
      },
    }),
  );
  const unwrittenText = ({ reports }: ToldReports): string =>
    canonicalJson([...unwrittenOf(reports, (report) => made.fateOf(report))]);
  const tellNodeState = (now: ToldReports): void => {
    const missing = unwrittenOf(now.reports, (report) => made.fateOf(report));
    unwritten = canonicalJson([...missing]);
    nodeState.reports(now.reports, now.results, missing);
  };
  const events = closing.use(
    createEventRecorder(client, {
      controller: "bpfleet.io/agent",
      instance: nodeName,
      ...(timing !== undefined && { timing }),
      onFault: (error) => onNotice(error.message),
    }),
  );
  const teller = new EventTeller(events, (ref) => made.find(ref)?.metadata.uid);
  const earlier = async (): Promise<EarlierReports> => ({
    nodeState: await nodeState.read().catch((error: unknown) => {
      onNotice(errorText(error));
      return undefined;
    }),
    made: await made.known(earlierMs),
  });
  const agent = await startObjectAgent({
    daemon,
    features: options.features,
    kinds,
    clock,
    onNotice,
    source: store,
    records: new ClusterRecords(earlier, (ref) => store.find(ref)?.metadata.generation),
    podPlaces: new KubeletPods(),
    // Nobody is told what became of what only says what there is, and there may be tens of thousands of it.
    keeps: (ref) => !isOfFacts(ref),
    onReports: (now) => {
      told = now;
      tellNodeState(now);
      teller.tell(now.reports);
      syncs.ask();
      options.onReports?.(now);
    },
  });
  closing.use(agent);
  closing.defer(daemon.onChange((results) => nodeState.daemonSays(results)));
  const owned = closing.move();
  return {
    report: () => agent.report(),
    sync: () => agent.sync(),
    policyState: () => agent.policyState(),
    adviseEdit: (request) => agent.adviseEdit(request),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
