import { Code, ConnectError } from "@connectrpc/connect";
import { KernelError } from "@bpfleet/base";
import { FailureSchema } from "@bpfleet/wire";
import { decodeFailure } from "../api/from-wire.ts";

const sayings: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket; start the daemon",
  ECONNREFUSED: "nobody listens there; start the daemon",
  EACCES: "this user may not open it; run the agent in the group of the socket",
  ECONNRESET: "the connection was lost",
  EPIPE: "the connection was lost",
  CERT_HAS_EXPIRED: "the daemon's certificate has ended; renew it",
  CERT_NOT_YET_VALID: "the daemon's certificate does not hold yet; look at the clock of this node and of who issued it",
};

/** What broke the connection or a call, as a KernelError with what helps. */
export function connectionFailure(socket: string, cause: unknown): KernelError {
  if (cause instanceof KernelError) return cause;
  const error = cause === undefined ? undefined : ConnectError.from(cause);
  const [failure] = error?.findDetails(FailureSchema) ?? [];
  if (error !== undefined && failure !== undefined) return decodeFailure(failure, error.rawMessage, cause);
  const errno = systemCode(error);
  const said = errno === undefined ? wordsOf(error) : `${sayings[errno] ?? tlsSaying(errno)} (${errno})`;
  return new KernelError(`reach the daemon at ${socket}: ${said}`, {
    code: errno === "EACCES" ? "no-permission" : "unreachable",
    call: "CONNECT",
    errno,
    retry: "backoff",
    cause,
  });
}

/** Whom the other end does not trust it cuts off without a word. */
function wordsOf(error: ConnectError | undefined): string {
  if (error === undefined || error.code === Code.Unknown) return "the connection was lost";
  return error.code === Code.Canceled
    ? "it cut the connection; where this goes on, the agent's certificate is not one of the daemon's ca.crt"
    : error.rawMessage;
}

/** The word for what happened, however deep it lies. */
function systemCode(error: unknown): string | undefined {
  for (let each = error, depth = 0; each instanceof Error && depth < 8; each = each.cause, depth++) {
    const { code } = each as NodeJS.ErrnoException;
    if (typeof code === "string" && /^[A-Z][A-Z0-9_]+$/.test(code)) return code;
  }
  return undefined;
}

function tlsSaying(code: string): string {
  if (/ALERT/.test(code))
    return "it refuses the agent's certificate; look at its ca.crt and at the certificate's dates";
  if (/CERT|ISSUER|SIGNED|VERIFY|SIGNATURE/.test(code))
    return "its certificate is not one of our authority; look at the agent's ca.crt";
  return "the connection was lost";
}
