import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

const ready = '.status.conditions[?(@.type=="Ready")]';

function column(name: string, jsonPath: string, description: string, more: Partial<Column> = {}): Column {
  return { name, jsonPath, type: "string", priority: 0, description, ...more };
}

export const nodeStateColumns: readonly Column[] = [
  column("Ready", `${ready}.status`, "Whether the node does what is declared."),
  column("In-Force", ".status.objects.inForce", "Objects in force.", { type: "integer" }),
  column("Failed", ".status.objects.failed", "Objects that are not in force as asked.", { type: "integer" }),
  column("Programs", ".status.inventory.total.programs", "BPF programs in the kernel, ours and foreign.", {
    type: "integer",
  }),
  column("Kernel", ".status.versions.kernel", "Release of the kernel."),
  column("Version", ".status.versions.agent", "Version of the agent."),
  ageColumn,
  column("Waiting", ".status.objects.waiting", "Objects that wait for the world to change.", {
    type: "integer",
    priority: 1,
  }),
  column("Not-Served", ".status.objects.notServed", "Objects that ask for what is not served yet.", {
    type: "integer",
    priority: 1,
  }),
  column("Paused", ".status.isPaused", "Everything is detached.", { type: "boolean", priority: 1 }),
  column("Seen", ".status.observedAt", "Time since the agent last wrote.", { type: "date", priority: 1 }),
  column("Reason", `${ready}.reason`, "Why it is ready, or not.", { priority: 1 }),
];
