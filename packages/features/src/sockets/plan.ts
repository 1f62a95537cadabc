import type { FeatureInstance, MapSpec, NodeFacts, PlanProblem, ProgramSpec } from "@bpfleet/kernel";
import type { Attachment, FeaturePlan } from "../feature.ts";
import { placePods } from "../pod-cgroups.ts";
import { socketsMaps } from "./generated/sockets.ts";
import type { SocketsIntent } from "./intent.ts";

export function planSockets(intents: readonly SocketsIntent[], facts: NodeFacts): FeaturePlan {
  const plan = {
    maps: [] as MapSpec[],
    programs: [] as ProgramSpec[],
    attachments: [] as Attachment[],
    instances: [] as FeatureInstance[],
    problems: [] as PlanProblem[],
  };
  for (const intent of intents) {
    const owner = intent.origin.object;
    const { ready, problems } = placePods(intent.pods, intent.origin, facts);
    plan.problems.push(...problems);
    for (const { namespace, pod, path } of ready) {
      const key = `sockets/${owner.namespace}/${owner.name}/${namespace}/${pod}`;
      const connections = `${key}/connections`;
      const program = `${key}/program`;
      plan.maps.push({
        key: connections,
        name: "connections",
        definition: socketsMaps.connections,
        contents: { kind: "live" },
        owner,
      });
      plan.programs.push({
        key: program,
        name: "sockets",
        type: "sock_ops",
        object: { name: "sockets", digest: facts.objects["sockets"]?.digest ?? "" },
        entry: "count_connections",
        globals: {},
        maps: { connections },
        owner,
      });
      plan.attachments.push({
        point: { hook: "cgroup", path, attach: "sock_ops", member: program },
        member: { program, priority: intent.priority, proceedOn: [] },
      });
      plan.instances.push({
        feature: "sockets",
        owner,
        key,
        programs: [program],
        maps: { connections },
        rules: [],
        data: { pod, namespace },
      });
    }
  }
  return plan;
}
