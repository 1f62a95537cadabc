import { KernelError, type ErrorCode, type Retry } from "@bpfleet/base";
import { BpfError, tellingLine, type BpfErrorCode } from "./binding.ts";

const codes: Readonly<Record<BpfErrorCode, ErrorCode>> = {
  "not-permitted": "no-permission",
  "not-found": "not-found",
  exists: "exists",
  busy: "busy",
  invalid: "invalid",
  "not-supported": "not-supported",
  "too-big": "too-big",
  "no-space": "too-big",
  stale: "stale",
  verifier: "verifier",
  "no-btf": "no-btf",
  "not-elf": "not-elf",
  closed: "internal",
  other: "internal",
};

/** Trying the same call again cannot help until something else has changed. */
const lasting: readonly ErrorCode[] = [
  "invalid",
  "verifier",
  "not-supported",
  "no-btf",
  "not-elf",
  "no-permission",
  "interface-missing",
  "busy",
  "exists",
];

export interface FailureOptions {
  /** In place of what the error's own code says. */
  readonly code?: ErrorCode | undefined;
  /** In place of what the kernel said. */
  readonly said?: string | undefined;
  readonly cause?: unknown;
}

/** The one place where errors of the binding become the port's. `what` is verb and object: `attach xdp/eth0`. */
export function kernelError(what: string, error: unknown, options: FailureOptions = {}): KernelError {
  if (error instanceof KernelError) return error;
  if (!(error instanceof BpfError)) throw error;
  const code = options.code ?? codes[error.code];
  const said = options.said ?? (error.code === "verifier" ? verifierSaid(error.verifierLog) : kernelSaid(error));
  return new KernelError(`${what}: ${said} (${error.errnoName})`, {
    code,
    call: error.op,
    errno: error.errnoName,
    retry: retryOf(code),
    detail: [error.verifierLog, error.warnings].filter((text) => text !== "").join("\n") || undefined,
    cause: error,
  });
}

/** Something that we found out ourselves, without a failed call of the kernel. */
export function refusal(what: string, said: string, code: ErrorCode, call: string): KernelError {
  return new KernelError(`${what}: ${said}`, { code, call, retry: retryOf(code) });
}

export function hasCode(error: unknown, ...wanted: readonly BpfErrorCode[]): error is BpfError {
  return error instanceof BpfError && wanted.includes(error.code);
}

/** Runs, and lets errors of the binding leave as the port's. */
export async function saying<T>(what: string, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw kernelError(what, error);
  }
}

function retryOf(code: ErrorCode): Retry {
  return lasting.includes(code) ? "when-changed" : "backoff";
}

/** Without the verb and object of the binding, which the caller says better, and without the errno. */
function kernelSaid(error: BpfError): string {
  const head = `${error.op} `;
  const text = error.message.startsWith(head) ? error.message.slice(error.message.indexOf(": ") + 2) : error.message;
  return text.replace(/ \([A-Za-z0-9_ ]+\)$/, "");
}

function verifierSaid(log: string): string {
  const line = tellingLine(log);
  const source = sourceLine(log, line);
  return `the verifier refused it: ${line}${source === undefined ? "" : `; at ${source}`}`;
}

/** The kernel puts the line of C that an instruction came from before it: `; if (x) @ filter.bpf.c:120`. */
export function sourceLine(log: string, telling: string): string | undefined {
  const lines = log.split("\n").map((line) => line.trim());
  const end = lines.lastIndexOf(telling);
  const found = lines
    .slice(0, end < 0 ? lines.length : end)
    .findLast((line) => line.startsWith("; ") && line.length > 2);
  const parts = found === undefined ? null : /^; (.*?)(?: @ ([^@]+:\d+))?$/.exec(found);
  if (!parts) return undefined;
  const [, text = "", place] = parts;
  return place === undefined ? text : `${place}: ${text}`;
}
