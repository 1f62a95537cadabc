import { programName } from "@bpfleet/kinds";
import type { NodeProgramHeader } from "./node-programs.ts";

/** The node that an object was made on, or `undefined` when it is none of those that there are. */
export function nodeOf(
  program: NodeProgramHeader,
  nodes: { has(name: string): boolean; names(): Iterable<string> },
): string | undefined {
  const { name } = program.metadata;
  if (program.node !== undefined) return nodes.has(program.node) ? program.node : undefined;
  const suffix = name.startsWith(`${program.owner}-`) ? name.slice(program.owner.length + 1) : undefined;
  if (suffix !== undefined && nodes.has(suffix)) return suffix;
  // A long name, or one that cannot stand in an object's name, is told by a fingerprint.
  for (const node of nodes.names()) if (programName(program.owner, node) === name) return node;
  return undefined;
}
