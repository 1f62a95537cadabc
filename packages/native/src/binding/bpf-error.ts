import { constants } from "node:os";

export type BpfErrorCode =
  | "not-permitted"
  | "not-found"
  | "exists"
  | "busy"
  | "invalid"
  | "not-supported"
  | "too-big"
  | "no-space"
  | "stale"
  | "verifier"
  | "no-btf"
  | "not-elf"
  | "closed"
  | "other";

export interface BpfErrorDetails {
  readonly code: BpfErrorCode;
  readonly errno: number;
  readonly errnoName: string;
  readonly op: string;
  readonly verifierLog: string;
  readonly warnings: string;
}

/** The kernel or libbpf refused. `message` is one line; the whole log is in `verifierLog`, libbpf's words in `warnings`. */
export class BpfError extends Error {
  override readonly name = "BpfError";
  readonly code: BpfErrorCode;
  readonly errno: number;
  readonly errnoName: string;
  readonly op: string;
  readonly verifierLog: string;
  readonly warnings: string;

  constructor(message: string, details: BpfErrorDetails) {
    super(message);
    this.code = details.code;
    this.errno = details.errno;
    this.errnoName = details.errnoName;
    this.op = details.op;
    this.verifierLog = details.verifierLog;
    this.warnings = details.warnings;
  }
}

const ENOTSUPP = 524;
export const errnoNames = new Map<number, string>(
  Object.entries(constants.errno).map(([name, errno]) => [errno, name]),
);
errnoNames.set(constants.errno.EAGAIN, "EAGAIN");
errnoNames.set(constants.errno.EOPNOTSUPP, "EOPNOTSUPP");
errnoNames.set(ENOTSUPP, "ENOTSUPP");

/** LIBBPF_ERRNO__START of libbpf.h and the names that follow it. */
const libbpfErrnoStart = 4000;
const libbpfErrnoNames =
  "LIBELF FORMAT KVERSION ENDIAN INTERNAL RELOC LOAD VERIFY PROG2BIG KVER PROGTYPE WRNGPID INVSEQ NLPARSE";
for (const [index, name] of libbpfErrnoNames.split(" ").entries())
  errnoNames.set(libbpfErrnoStart + index, `LIBBPF_${name}`);

export const codes: Readonly<Record<string, BpfErrorCode>> = {
  EPERM: "not-permitted",
  EACCES: "not-permitted",
  EROFS: "not-permitted",
  ENOENT: "not-found",
  ENODEV: "not-found",
  ENXIO: "not-found",
  ESRCH: "not-found",
  EEXIST: "exists",
  EBUSY: "busy",
  EAGAIN: "busy",
  EINVAL: "invalid",
  EBADF: "invalid",
  ENOTDIR: "invalid",
  ERANGE: "invalid",
  EOPNOTSUPP: "not-supported",
  ENOTSUPP: "not-supported",
  ENOSYS: "not-supported",
  EPROTONOSUPPORT: "not-supported",
  EAFNOSUPPORT: "not-supported",
  E2BIG: "too-big",
  EMSGSIZE: "too-big",
  LIBBPF_PROG2BIG: "too-big",
  ENOSPC: "no-space",
  ENOMEM: "no-space",
  EMFILE: "no-space",
  ENFILE: "no-space",
  ESTALE: "stale",
};

const separator = "\u001f";
const tag = `bpfleet${separator}`;

/** The line of a verifier log that says why; what follows it are statistics. */
export function tellingLine(log: string): string {
  const statistics =
    /^(processed \d+ insns|verification time|stack depth|peak_states|-- (BEGIN|END) |\d+: \(|from \d+ to \d+)/;
  const lines = log.split("\n").map((line) => line.trim());
  return lines.findLast((line) => line !== "" && !statistics.test(line)) ?? "";
}

export function decodeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!error.message.startsWith(tag)) {
    // What napi says of an argument of the wrong type.
    const isMisuse = "code" in error && typeof error.code === "string" && /(Expected|InvalidArg)$/.test(error.code);
    return isMisuse ? new TypeError(error.message, { cause: error }) : error;
  }
  const [, op = "", object = "", number = "0", hint = "", text = "", warnings = "", verifierLog = ""] =
    error.message.split(separator);
  const errno = Number(number);
  if (hint === "range") return new RangeError(`${op} ${object}: ${text}`);
  const errnoName = errnoNames.get(errno) ?? `errno ${errno}`;
  const why = tellingLine(verifierLog);
  const code = (hint as BpfErrorCode) || (verifierLog ? "verifier" : (codes[errnoName] ?? "other"));
  const said = why ? `the verifier refused it: ${why}` : (libbpfReason(code, hint, warnings) ?? lowerFirst(text));
  return new BpfError(`${op} ${object}: ${said} (${errnoName})`, {
    code,
    errno,
    errnoName,
    op,
    verifierLog,
    warnings,
  });
}

/** libbpf's first words tell more than an errno that stands for many things; for a plain one the errno says it all. */
function libbpfReason(code: BpfErrorCode, hint: string, warnings: string): string | undefined {
  const isVague = hint === "" && ["invalid", "not-found", "not-supported", "other"].includes(code);
  return isVague || code === "not-elf" ? warnings.split("\n", 1)[0] || undefined : undefined;
}

function lowerFirst(text: string): string {
  return text.replace(/^[A-Z](?=[a-z ])/, (letter) => letter.toLowerCase());
}

/** Every call into the addon goes through here, so that its errors leave as ours, with the caller's stack. */
export function call<T>(run: () => T): T {
  try {
    const result = run();
    return result instanceof Promise
      ? (result.catch((error: unknown) => {
          throw decodeError(error);
        }) as T)
      : result;
  } catch (error) {
    throw decodeError(error);
  }
}

export function closedError(op: string, object: string): BpfError {
  const details = {
    errno: constants.errno.EBADF,
    errnoName: "EBADF",
    op,
    verifierLog: "",
    warnings: "",
  };
  return new BpfError(`${op} ${object}: it is closed (EBADF)`, { code: "closed", ...details });
}
