import type { Column } from "../../kind.ts";
import { ageColumn, readyColumns } from "../../schema/columns.ts";

export const felixColumns: readonly Column[] = [
  {
    name: "BPF",
    jsonPath: ".spec.bpfEnabled",
    type: "boolean",
    priority: 0,
    description: "Whether Services and policies are served by eBPF.",
  },
  {
    name: "Mode",
    jsonPath: ".spec.bpfExternalServiceMode",
    type: "string",
    priority: 0,
    description: "How packets from outside reach Services.",
  },
  {
    name: "Connect",
    jsonPath: ".spec.bpfConnectTimeLoadBalancing",
    type: "string",
    priority: 0,
    description: "Which Services are resolved when a connection begins.",
  },
  ...readyColumns,
  ageColumn,
];
