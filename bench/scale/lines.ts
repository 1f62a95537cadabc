/** What a process of simulated agents says. */
export type AgentLine =
  | { readonly is: "started"; readonly agents: number }
  | { readonly is: "ready"; readonly agents: number }
  | { readonly is: "watching" }
  | { readonly is: "seen"; readonly version: string; readonly times: readonly number[] };

/** What such a process is told, a line each. */
export type AgentWord = "traffic" | "rest" | "addresses";

/** An address that no pod had before; that of agents which have it is told as a version. */
export function newAddress(number: number): string {
  return `10.250.${number >> 8}.${number & 255}`;
}

export const isNewAddress = (address: string): boolean => address.startsWith("10.250.");

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
