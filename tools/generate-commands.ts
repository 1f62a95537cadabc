import { renderReference } from "@bpfleet/ebpfctl/reference";

const header = "<!-- Made by tools/generate-commands.ts. Do not edit. -->\n\n";

/** docs/reference/commands.md, from the commands themselves. */
export async function generateCommands(): Promise<ReadonlyMap<string, string>> {
  return new Map([["docs/reference/commands.md", header + (await renderReference())]]);
}
