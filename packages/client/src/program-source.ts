import type { NodeProgram } from "./node-program.ts";

/** bpfd's two names of the kind; configs of one kind become programs of the same. */
export type ProgramKind = "BpfProgram" | "EbpfProgram";

/** Where the programs of nodes can be read. */
export interface ProgramSource {
  /** `undefined` when there is no such program. */
  read(kind: ProgramKind, name: string, signal?: AbortSignal): Promise<NodeProgram | undefined>;
  /** Ends when something may have changed, and when the signal says so; never throws. */
  changed(kind: ProgramKind, name: string, signal: AbortSignal): Promise<void>;
}

/** The place cannot be read. */
export class SourceError extends Error {
  override readonly name = "SourceError";
  /** HTTP status of the API server, where it answered. */
  readonly status: number | undefined;

  constructor(message: string, options: { readonly status?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.status = options.status;
  }
}
