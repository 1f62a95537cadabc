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
  /** The command's own code, and all that it imports, is read only when it is meant. */
  load(): Promise<DefineCommand>;
}

export const commands: readonly CommandEntry[] = [
  { name: "apply", summary: "declare objects from files", load: async () => (await import("./apply.ts")).defineApply },
  { name: "get", summary: "list objects", load: async () => (await import("./get.ts")).defineGet },
  { name: "describe", summary: "show objects with conditions, metrics and events", load: async () => (await import("./describe.ts")).defineDescribe },
  { name: "delete", summary: "remove objects", load: async () => (await import("./delete.ts")).defineDelete },
  { name: "api-resources", summary: "list the kinds that can be declared", load: async () => (await import("./api-resources.ts")).defineApiResources },
];
