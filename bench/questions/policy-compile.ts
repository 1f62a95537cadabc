import { policy, type BackendsIntent, type PolicyFeatureIntent, type ServiceIntent } from "@bpfleet/features";
import { assemblePlan } from "@bpfleet/kernel";
import { podsElsewhere, podsOfNode, policyFacts, policyOfPod } from "../policies.ts";
import { timed } from "../realise.ts";
import { answer, median, quantile, type BenchQuestion } from "../result.ts";

const podCount = 110;
const knownPods = 10_000;
const knownServices = 10_000;
const peer = "from nothing";

export const question: BenchQuestion = {
  name: "policy.compile",
  asks: "how long the plan of a node takes where 10,000 pods and 10,000 Services are known: one policy edited, and the back ends of one Service",
  async ask({ isQuick }) {
    const pods = Array.from({ length: podCount }, (_, at) => ({ interface: `p${at}`, ifindex: at + 10 }));
    const facts = policyFacts(pods);
    const people = [...podsOfNode(pods), ...podsElsewhere(knownPods)];
    const services = Array.from({ length: knownServices }, (_, at) => serviceAt(at));
    const small = pods.map((pod, at) => inBothDirections(policyOfPod(pod.interface, at, 1)));
    let backends = services.map((_, at) => backendsAt(at, 0));
    const memory = new Map();
    const plan = (policies: readonly PolicyFeatureIntent[], own?: Map<string, unknown>): Promise<number> => {
      const intents = [...people, ...services, ...backends, ...policies];
      return timed(async () => assemblePlan([policy.plan(intents, facts, own)]));
    };
    await plan(small, memory);
    const [edits, changes, fresh]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < (isQuick ? 20 : 100); round++) {
      const at = round % podCount;
      const edited = small.with(at, inBothDirections(policyOfPod(`p${at}`, 1000 + round, 2)));
      edits.push(await plan(edited, memory));
      if (round % 5 > 0) continue;
      backends = backends.with(at, backendsAt(at, round + 1));
      changes.push(await plan(edited, memory));
      fresh.push(await plan(edited));
    }
    const theirs = median(fresh);
    return [
      answer("policy.compile.edit.p50-ms", "ms", median(edits), peer, theirs, "< 50 ms"),
      answer("policy.compile.edit.p99-ms", "ms", quantile(edits, 0.99), peer, quantile(fresh, 0.99)),
      answer("policy.compile.back-ends.p50-ms", "ms", median(changes), peer, theirs),
    ];
  },
};

const fact = { feature: "policy", isFact: true } as const;

function serviceAt(at: number): ServiceIntent {
  const name = `service-${at}`;
  return {
    ...fact,
    about: "service",
    origin: { object: { group: "", kind: "Service", namespace: "elsewhere", name }, path: "" },
    namespace: "elsewhere",
    name,
    labels: { app: name },
    clusterAddresses: [`172.20.${at >> 8}.${at & 255}`],
    externalAddresses: [],
    closedAddresses: [],
    ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: undefined }],
    affinitySeconds: undefined,
    isLocalOnly: false,
  };
}

function backendsAt(at: number, edition: number): BackendsIntent {
  const service = `service-${at}`;
  return {
    ...fact,
    about: "backends",
    origin: {
      object: { group: "discovery.k8s.io", kind: "EndpointSlice", namespace: "elsewhere", name: service },
      path: "",
    },
    namespace: "elsewhere",
    service,
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
    backends: [20, 21, 22].map((first) => ({
      addresses: [`10.${first + (edition % 200)}.${at >> 8}.${at & 255}`],
      isReady: true,
      isServing: true,
      node: "elsewhere",
      forZones: [],
      forNodes: [],
    })),
  };
}

function inBothDirections(intent: ReturnType<typeof policyOfPod>): typeof intent {
  const statements = intent.policy.statements.map((each) => ({ ...each, egress: each.ingress }));
  return { ...intent, policy: { ...intent.policy, statements } };
}
