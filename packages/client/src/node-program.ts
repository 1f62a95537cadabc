/** What a config became on one node: the part of a BpfProgram that applications need. */
export interface NodeProgram {
  /** `<config>-<node>` */
  readonly name: string;
  readonly config: string;
  /** Whether it runs; a program that an upgrade could not replace still does. */
  readonly isLoaded: boolean;
  /** Why not, as far as the node says. */
  readonly cause: string | undefined;
  readonly instances: readonly ProgramInstance[];
}

/** One place where the program is attached. */
export interface ProgramInstance {
  readonly uuid: string;
  /** Map name → absolute path of its pin. */
  readonly maps: Readonly<Record<string, string>>;
}

/** Throws a SyntaxError for what is no BpfProgram or EbpfProgram. */
export function parseNodeProgram(value: unknown): NodeProgram {
  const object = recordOf(value, "object");
  const metadata = recordOf(object["metadata"], "metadata");
  const { name } = metadata;
  if (typeof name !== "string") throw new SyntaxError("read BpfProgram: metadata.name is no text");
  const programs = optional(optional(object["spec"], "spec")["programs"], "spec.programs");
  const conditions = optional(object["status"], "status")["conditions"];
  const list = (Array.isArray(conditions) ? (conditions as unknown[]) : []).map((each) => recordOf(each, "condition"));
  const cause = list.find(({ type }) => type === "Cause")?.["message"];
  return {
    name,
    config: configOf(metadata),
    isLoaded: list.at(-1)?.["type"] === "Loaded",
    cause: typeof cause === "string" ? cause : undefined,
    instances: Object.entries(programs).map(([uuid, program]) => {
      const maps = optional(recordOf(program, uuid)["maps"], "maps");
      const paths = Object.entries(maps).filter((entry): entry is [string, string] => typeof entry[1] === "string");
      return { uuid, maps: Object.fromEntries(paths) };
    }),
  };
}

/** A label has not room for every name. */
function configOf(metadata: Record<string, unknown>): string {
  const owners = metadata["ownerReferences"];
  const owner = Array.isArray(owners) && owners.length > 0 ? recordOf(owners[0], "metadata.ownerReferences") : {};
  const label = optional(metadata["labels"], "metadata.labels")["owningConfig"];
  const found = [owner["name"], label].find((each): each is string => typeof each === "string");
  return found ?? "";
}

function optional(value: unknown, what: string): Record<string, unknown> {
  return value === undefined ? {} : recordOf(value, what);
}

function recordOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new SyntaxError(`read BpfProgram: ${what} is no mapping`);
  return value as Record<string, unknown>;
}
