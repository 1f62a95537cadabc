/** What a process of simulated agents says. */
export type AgentLine =
  | { readonly is: "started"; readonly agents: number }
  | { readonly is: "ready"; readonly agents: number }
  | { readonly is: "seen"; readonly version: string; readonly times: readonly number[] };

export function nodeName(number: number): string {
  return `sim-${String(number).padStart(5, "0")}`;
}

/** An object as it was declared once. */
export function versionOf({
  name,
  generation = 0,
}: {
  readonly name: string;
  readonly generation?: number | undefined;
}): string {
  return `${name}/${generation}`;
}
