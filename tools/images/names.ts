import { parseReference } from "@bpfleet/oci";
import type { daemonCapabilities, memlockCapability } from "@bpfleet/operator/desired";

/** User and group of all processes that need no rights. */
export const plainUser = 65532;

/** Where the image has what a checkout has. */
export const home = "/usr/lib/bpfleet";

/** As linux/capability.h counts them. */
export const capabilityNumbers = {
  DAC_READ_SEARCH: 2,
  NET_ADMIN: 12,
  SYS_ADMIN: 21,
  SYS_RESOURCE: 24,
  BPF: 39,
} as const satisfies Record<keyof typeof daemonCapabilities | typeof memlockCapability, number>;

export interface AppImage {
  readonly app: "daemon" | "agent" | "operator";
  /** Variable of the Makefile that names it otherwise, as the documents have it. */
  readonly variable: string;
  readonly name: string;
  /** In the image; the name that the documents give the process. */
  readonly program: string;
  readonly user: string;
}

/** All have the same layers and differ in what they start: a node fetches them once. */
export const appImages: readonly AppImage[] = [
  { app: "daemon", variable: "BPFD_IMG", name: "bpfd:latest", program: "bpfd", user: `${plainUser}:${plainUser}` },
  {
    app: "agent",
    variable: "BPFD_AGENT_IMG",
    name: "bpfd-agent:latest",
    program: "bpfd-agent",
    user: `${plainUser}:${plainUser}`,
  },
  {
    app: "operator",
    variable: "BPFD_OPERATOR_IMG",
    name: "podconfigmap-controller:latest",
    program: "podconfigmap-controller",
    user: `${plainUser}:${plainUser}`,
  },
];

/** The name that a reference stands for, as container runtimes complete it. */
export function fullName(text: string): string {
  const { host, repository, tag, digest } = parseReference(text);
  return `${host}/${repository}${digest === undefined ? `:${tag ?? "latest"}` : `@${digest}`}`;
}

/** Names by the variables; `BPFD_AGENT_IMAGE` is how the document spells one of them once. Throws for what names no image. */
export function chosenNames(env: NodeJS.ProcessEnv): ReadonlyMap<AppImage["app"], string> {
  return new Map(
    appImages.map(({ app, variable, name }) => {
      const chosen = env[variable] || env[variable.replace(/_IMG$/, "_IMAGE")] || name;
      try {
        parseReference(chosen);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        throw new Error(`use ${variable}=${JSON.stringify(chosen)}: ${why}`, { cause: error });
      }
      return [app, chosen];
    }),
  );
}
