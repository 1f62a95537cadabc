import type { Column } from "../../kind.ts";
import { ageColumn, nodesColumns, readyColumns } from "../../schema/columns.ts";

export const podConfigColumns: readonly Column[] = [
  {
    name: "Syscalls",
    jsonPath: ".spec.ebpfConfig.syscallMonitoring.enabled",
    type: "boolean",
    priority: 0,
    description: "Whether system calls are counted.",
  },
  {
    name: "Firewall",
    jsonPath: ".spec.ebpfConfig.l4Firewall.enabled",
    type: "boolean",
    priority: 0,
    description: "Whether ports are filtered.",
  },
  {
    name: "Default",
    jsonPath: ".spec.ebpfConfig.l4Firewall.defaultAction",
    type: "string",
    priority: 0,
    description: "What becomes of ports that are not listed.",
  },
  ...readyColumns,
  ageColumn,
  ...nodesColumns,
  {
    name: "Interval",
    jsonPath: ".spec.ebpfConfig.metricsExport.updateInterval",
    type: "string",
    priority: 1,
    description: "How often the metrics are read.",
  },
];
