import { defineKind } from "../../define-kind.ts";
import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { podAccess } from "./access.ts";
import { podColumns } from "./columns.ts";
import { lowerPod } from "./lower.ts";
import { anySchema, cgroupAnnotation, netnsAnnotation } from "./schema.ts";
import type { Pod } from "./schema.ts";

/**
 * A pod as far as a node without a cluster needs one: its labels, and which network namespace and
 * cgroup are its own. Kubernetes judges the rest.
 */
export const pod = defineKind<Pod>({
  group: "",
  version: "v1",
  kind: "Pod",
  plural: "pods",
  singular: "pod",
  shortNames: ["po"],
  scope: "Namespaced",
  description:
    "Makes a named network namespace and a cgroup an endpoint that other kinds select; without a cluster only.",
  columns: podColumns,
  access: podAccess,
  conditions: {},
  specSchema: anySchema,
  statusSchema: anySchema,
  isOurs: false,
  check: checkPod,
  lower: lowerPod,
  status: (parsed) => parsed.object.status ?? {},
});

function checkPod({ metadata }: Pod, found: IssueList): void {
  const { [netnsAnnotation]: netns, [cgroupAnnotation]: cgroup } = metadata.annotations ?? {};
  if (!found.isSound("/metadata")) return;
  if (netns !== undefined && !/^[^/\s]+$/.test(netns)) {
    found.error(
      annotationPath(netnsAnnotation),
      "invalid",
      `must be the name of a network namespace, as \`ip netns\` lists it, is ${describe(netns)}`,
    );
  }
  if (cgroup !== undefined && !isCgroupPath(cgroup)) {
    found.error(
      annotationPath(cgroupAnnotation),
      "invalid",
      `must be a path below the cgroup v2 mount, or an absolute one, without . and .., is ${describe(cgroup)}`,
    );
  }
}

function isCgroupPath(path: string): boolean {
  const steps = path.replace(/^\//, "").split("/");
  return steps.every((step) => step !== "" && step !== "." && step !== "..");
}

function annotationPath(name: string): string {
  return `/metadata/annotations/${name.replaceAll("/", "~1")}`;
}
