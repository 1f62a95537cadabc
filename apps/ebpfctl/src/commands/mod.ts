import type { Program } from "../cli.ts";
import type { World } from "../world.ts";

/** Adds a command with its flags and its action to the program. */
export type DefineCommand = (program: Program, world: World) => void;

export interface CommandEntry {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** One line in the list of commands. */
  readonly summary: string;
  readonly isHidden?: boolean;
  /** What it reads or changes: objects of the node or of a cluster, or only files; else it asks its node. */
  readonly about?: "objects" | "files";
  /** The command's own code, and all that it imports, is read only when it is meant. */
  load(): Promise<DefineCommand>;
}

export const commands: readonly CommandEntry[] = [
  {
    name: "up",
    summary: "serve the declared objects on this node",
    load: async () => (await import("./up.ts")).defineUp,
  },
  {
    name: "apply",
    summary: "declare objects from files",
    about: "objects",
    load: async () => (await import("./apply.ts")).defineApply,
  },
  { name: "get", summary: "list objects", about: "objects", load: async () => (await import("./get.ts")).defineGet },
  {
    name: "describe",
    summary: "show objects with conditions, metrics and events",
    about: "objects",
    load: async () => (await import("./describe.ts")).defineDescribe,
  },
  {
    name: "delete",
    summary: "remove objects",
    about: "objects",
    load: async () => (await import("./delete.ts")).defineDelete,
  },
  {
    name: "wait",
    summary: "wait until objects have a condition, or are gone",
    load: async () => (await import("./wait.ts")).defineWait,
  },
  {
    name: "diff",
    summary: "say what applying files would change in the kernel",
    load: async () => (await import("./diff.ts")).defineDiff,
  },
  {
    name: "lint",
    summary: "say what is wrong with objects, or most likely not meant",
    about: "objects",
    load: async () => (await import("./lint.ts")).defineLint,
  },
  {
    name: "migrate",
    summary: "make policies of Cilium's kinds of EBPFNetworkPolicies",
    about: "files",
    load: async () => (await import("./migrate.ts")).defineMigrate,
  },
  {
    name: "explain",
    summary: "say what would become of a packet, and why",
    load: async () => (await import("./explain.ts")).defineExplain,
  },
  {
    name: "trace",
    summary: "show verdicts as they happen",
    load: async () => (await import("./trace.ts")).defineTrace,
  },
  {
    name: "policy",
    summary: "show the policies in force: who may talk to whom",
    load: async () => (await import("./policy.ts")).definePolicy,
  },
  {
    name: "conntrack",
    summary: "show the connections that policies let through",
    load: async () => (await import("./conntrack.ts")).defineConntrack,
  },
  {
    name: "prog",
    summary: "list every BPF program on this node, ours and foreign",
    load: async () => (await import("./inventory.ts")).defineProg,
  },
  {
    name: "map",
    summary: "list, print and change the BPF maps on this node",
    load: async () => (await import("./map.ts")).defineMap,
  },
  {
    name: "link",
    summary: "list every BPF link on this node, ours and foreign",
    load: async () => (await import("./inventory.ts")).defineLink,
  },
  {
    name: "top",
    summary: "show the programs that take the most CPU time",
    load: async () => (await import("./top.ts")).defineTop,
  },
  {
    name: "image",
    summary: "build, push, pull, inspect and verify bytecode images",
    about: "files",
    load: async () => (await import("./image.ts")).defineImage,
  },
  {
    name: "preflight",
    summary: "say whether an object or image loads on this node, and why not",
    load: async () => (await import("./preflight.ts")).definePreflight,
  },
  {
    name: "pause",
    summary: "detach everything at once, until resume",
    load: async () => (await import("./pause.ts")).definePause,
  },
  {
    name: "resume",
    summary: "attach everything again after pause",
    load: async () => (await import("./pause.ts")).defineResume,
  },
  {
    name: "cleanup",
    summary: "remove everything of ours from this node",
    load: async () => (await import("./cleanup.ts")).defineCleanup,
  },
  {
    name: "api-resources",
    summary: "list the kinds that can be declared",
    about: "files",
    load: async () => (await import("./api-resources.ts")).defineApiResources,
  },
  {
    name: "version",
    summary: "print the versions of ebpfctl and the daemon, and what the kernel offers",
    load: async () => (await import("./version.ts")).defineVersion,
  },
  {
    name: "completion",
    summary: "print a script that completes command lines",
    about: "files",
    load: async () => (await import("./completion.ts")).defineCompletion,
  },
  {
    name: "mount-bpffs",
    summary: "",
    about: "files",
    isHidden: true,
    load: async () => (await import("./mount-bpffs.ts")).defineMountBpffs,
  },
  {
    name: "sleep",
    summary: "",
    about: "files",
    isHidden: true,
    load: async () => (await import("./container.ts")).defineSleep,
  },
  {
    name: "ls",
    summary: "",
    about: "files",
    isHidden: true,
    load: async () => (await import("./container.ts")).defineLs,
  },
  {
    name: "wget",
    summary: "",
    about: "files",
    isHidden: true,
    load: async () => (await import("./container.ts")).defineWget,
  },
  {
    name: "hardware-status",
    summary: "",
    about: "files",
    isHidden: true,
    load: async () => (await import("./hardware.ts")).defineHardwareStatus,
  },
  {
    name: "metrics",
    summary: "",
    about: "files",
    isHidden: true,
    load: async () => (await import("./hardware.ts")).defineMetrics,
  },
  {
    name: "__complete",
    summary: "",
    about: "files",
    isHidden: true,
    load: async () => (await import("./complete.ts")).defineComplete,
  },
];
