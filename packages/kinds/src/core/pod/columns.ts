import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const podColumns: readonly Column[] = [
  {
    name: "Netns",
    jsonPath: ".metadata.annotations.bpfleet\\.io/netns",
    type: "string",
    priority: 0,
    description: "The network namespace of the pod.",
  },
  {
    name: "Cgroup",
    jsonPath: ".metadata.annotations.bpfleet\\.io/cgroup",
    type: "string",
    priority: 0,
    description: "The cgroup of the pod.",
  },
  ageColumn,
];
