/** What a client asks to load, in whatever layout it asked. */
export interface LoadWish {
  readonly source: LoadSource;
  readonly section: string;
  readonly attach: AttachWish;
  /** Variables by name, as they are in memory. */
  readonly globals: ReadonlyMap<string, Uint8Array>;
  /** The name that the client gives it; it can be asked for again by it. */
  readonly id?: string | undefined;
}

export type LoadSource =
  | { readonly file: string }
  | {
      readonly image: string;
      readonly pullPolicy: PullPolicy;
      readonly username: string;
      readonly password: string;
    };

export const pullPolicies = ["Always", "IfNotPresent", "Never"] as const;
export type PullPolicy = (typeof pullPolicies)[number];

export const directions = ["NONE", "INGRESS", "EGRESS"] as const;
export type Direction = (typeof directions)[number];

/** Index is the number on the wire. */
export const programTypes = ["XDP", "TC", "TRACEPOINT"] as const;
export type LoadType = (typeof programTypes)[number];

export type AttachWish =
  | {
      readonly type: "XDP" | "TC";
      readonly interface: string;
      readonly priority: number;
      readonly direction: Direction;
      readonly proceedOn: readonly ProceedOn[];
    }
  | { readonly type: "TRACEPOINT"; readonly name: string };

export type ProceedOn = "ABORTED" | "DROP" | "PASS" | "TX" | "REDIRECT" | "DISPATCHER_RETURN";

const proceedNumbers: ReadonlyMap<number, ProceedOn> = new Map([
  [0, "ABORTED"],
  [1, "DROP"],
  [2, "PASS"],
  [3, "TX"],
  [4, "REDIRECT"],
  [31, "DISPATCHER_RETURN"],
]);

export function parseProceedOn(number: number): ProceedOn | undefined {
  return proceedNumbers.get(number);
}

export function proceedNumber(name: string): number | undefined {
  return [...proceedNumbers].find(([, known]) => known === name)?.[0];
}
