import { errorCodes, errorText, ImageError, KernelError } from "@bpfleet/base";
import type { Output } from "./world.ts";

/** Ends a command: said to the user as it stands, without a stack. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly exitCode: number;

  constructor(message: string, options: { readonly exitCode?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}

/** The command has said everything itself. */
export class SilentFailure extends Failure {
  constructor(exitCode = 1) {
    super("", { exitCode });
  }
}

/** `networking.fos1.io` and `ebpfprograms` → kubectl's sentence for an object that is not there. */
export function notFound(resource: string, name: string): Failure {
  return new Failure(`Error from server (NotFound): ${resource} "${name}" not found`);
}

/** Says what went wrong and what helps; with `isVerbose` also everything the kernel or library said. Returns the exit code. */
export function reportFailure(error: unknown, err: Output, isVerbose: boolean): number {
  if (error instanceof SilentFailure) return error.exitCode;
  if (error instanceof Failure) {
    err.write(`${error.message.startsWith("Error from server") ? "" : "error: "}${error.message}\n`);
  } else if (isOfTheWorld(error)) {
    const { hint } = errorCodes[error.code];
    err.write(`error: ${error.message}${error.message.includes(";") ? "" : `; ${hint}`}\n`);
    if (isVerbose && error.detail !== undefined) err.write(`${error.detail.trimEnd()}\n`);
  } else if (isOfTheSystem(error)) {
    err.write(`error: ${renderSystemError(error)}\n`);
  } else {
    err.write(`error: ${errorText(error)}; ${errorCodes.internal.hint}\n`);
  }
  if (isVerbose) reportCauses(error, err);
  return error instanceof Failure ? error.exitCode : isOfTheWorld(error) ? errorCodes[error.code].exitCode : 1;
}

/** Whether nobody answers who has to be asked. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof KernelError && error.code === "unreachable";
}

function isOfTheWorld(error: unknown): error is KernelError | ImageError {
  return error instanceof KernelError || error instanceof ImageError;
}

type SystemError = NodeJS.ErrnoException & { readonly code: string; readonly syscall: string };

/** What Node throws when a system call fails. */
function isOfTheSystem(error: unknown): error is SystemError {
  return error instanceof Error && "syscall" in error && "code" in error && typeof error.code === "string";
}

function renderSystemError({ code, syscall, path, message }: SystemError): string {
  const said = /^[A-Z0-9]+: ([^,]+)/.exec(message)?.[1] ?? message;
  const isForbidden = code === "EACCES" || code === "EPERM" || code === "EROFS";
  const help = isForbidden ? "; run as root, or choose other places with --store, --state, --socket and --bpffs" : "";
  return `${syscall}${path === undefined ? "" : ` ${path}`}: ${said} (${code})${help}`;
}

function reportCauses(error: unknown, err: Output): void {
  if (!(error instanceof Error)) return;
  if (!(error instanceof Failure) && error.stack !== undefined) err.write(`${error.stack}\n`);
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    err.write(`caused by: ${cause.stack ?? cause.message}\n`);
}
