import type { Static } from "typebox";
import type { KubeObject } from "../../kind.ts";
import { labelSelector } from "../../labels/label-selector.ts";
import { durationPattern, parseDuration } from "../../quantity/quantity.ts";
import { commonStatus } from "../../schema/conditions.ts";
import { int32 } from "../../schema/fields.ts";
import type { Rule } from "../../schema/json-schema.ts";
import { Type } from "../../schema/type.ts";

const set = { "x-kubernetes-list-type": "set" } as const;

const name = Type.String({ minLength: 1, maxLength: 317 });

function names(description: string): ReturnType<typeof Type.Array<typeof name>> {
  return Type.Array(name, { maxItems: 64, description, ...set });
}

const port = int32({ minimum: 1, maximum: 65535, description: "A port." });

function ports(description: string): ReturnType<typeof Type.Array<typeof port>> {
  return Type.Array(port, { maxItems: 1024, description, ...set });
}

const intervalRule: Rule = {
  cel: "duration(self) >= duration('1s')",
  holds: (self: string) => (parseDuration(self) ?? 0) >= 1000,
  reads: [""],
  field: "",
  code: "invalid",
  message: "must be at least 1s",
};

const ebpfConfigSchema = Type.Object(
  {
    syscallMonitoring: Type.Optional(
      Type.Object(
        {
          enabled: Type.Boolean({ description: "Whether system calls of the pods are counted." }),
          syscallNames: Type.Optional(
            Type.Array(
              Type.String({
                minLength: 1,
                maxLength: 64,
                pattern: "^[a-z_][a-z0-9_]*$",
                patternMeaning: "the name of a system call, in lower case",
              }),
              { maxItems: 512, description: "The system calls that are counted; all when left out.", ...set },
            ),
          ),
        },
        { description: "Counting of system calls." },
      ),
    ),
    l4Firewall: Type.Optional(
      Type.Object(
        {
          enabled: Type.Boolean({ description: "Whether packets to the pods are filtered by port." }),
          defaultAction: Type.Enum(["allow", "block"], {
            description: "What becomes of ports that are in neither list.",
          }),
          allowedPorts: Type.Optional(ports("Ports of the pods that may be reached, by TCP and UDP.")),
          blockedPorts: Type.Optional(ports("Ports of the pods that may not; they win over allowedPorts.")),
        },
        { description: "Which ports of the pods may be reached. Replies to connections of the pods pass." },
      ),
    ),
    metricsExport: Type.Optional(
      Type.Object(
        {
          enabled: Type.Boolean({ description: "Whether the counters are exported as metrics." }),
          updateInterval: Type.String({
            minLength: 2,
            maxLength: 32,
            pattern: durationPattern,
            patternMeaning: "a duration, like 30s or 1m30s",
            rules: [intervalRule],
            default: "30s",
            description: "How often the counters are read.",
          }),
        },
        { description: "Export of metrics." },
      ),
    ),
  },
  { description: "What is done for the pods in the kernel." },
);

export const specSchema = Type.Object(
  {
    podSelector: Type.Optional(labelSelector("Labels of the pods; all of the namespace when left out.")),
    labelsToInclude: Type.Optional(names("Labels of the pods that are written to their ConfigMaps.")),
    annotationsToInclude: Type.Optional(names("Annotations of the pods that are written to their ConfigMaps.")),
    ebpfConfig: Type.Optional(ebpfConfigSchema),
  },
  { description: "Which pods, and what is done for them." },
);

export const statusSchema = Type.Object({ ...commonStatus }, { description: "What became of it." });

export type PodConfigSpec = Static<typeof specSchema>;
export type PodConfigMapConfigStatus = Static<typeof statusSchema>;

export interface PodConfigMapConfig extends KubeObject {
  readonly spec: PodConfigSpec;
  readonly status?: PodConfigMapConfigStatus;
}
