import { ImageError, isRecord } from "@bpfleet/base";
import type { ErrorCode, Retry } from "@bpfleet/base";

/** What was asked, for messages: verb and object, e.g. `pull manifest latest of quay.io/a/b`. */
export interface Question {
  readonly what: string;
  /** Host that was asked. */
  readonly from: string;
  /** Proxy by which it was asked. */
  readonly via?: string | undefined;
  readonly hasCredential: boolean;
}

/** An answer of a registry that is not what was asked for. */
export function refusal(question: Question, status: number, body: Uint8Array): ImageError {
  const said = errorOf(body);
  const [code, retry, hint] = judge(question, status, said);
  return new ImageError(`${question.what} from ${question.from}: ${status}${said === "" ? "" : ` ${said}`}; ${hint}`, {
    code,
    retry,
  });
}

function judge(question: Question, status: number, said: string): [ErrorCode, Retry, string] {
  if (status === 401 || status === 403) {
    const hint = question.hasCredential
      ? `the pull secret for ${question.from} does not allow it; check its user, its password and what it may read`
      : `give a pull secret for ${question.from}`;
    return ["unauthorized", "when-changed", hint];
  }
  if (status === 404) {
    const hint = said.includes("NAME_UNKNOWN") ? "check the repository" : "check the repository and the tag";
    return ["image-not-found", "backoff", hint];
  }
  if (status === 429)
    return ["registry-refused", "backoff", "it is asked too often; a mirror or a pull secret raises the limit"];
  if (status >= 500) return ["registry-unreachable", "backoff", "it is tried again"];
  return ["registry-refused", "when-changed", "ask whoever runs the registry"];
}

/** `UNAUTHORIZED (authentication required)` out of the answer of a registry. */
function errorOf(body: Uint8Array): string {
  try {
    const answer: unknown = JSON.parse(Buffer.from(body).toString());
    const errors = isRecord(answer) && Array.isArray(answer["errors"]) ? (answer["errors"] as unknown[]) : [];
    const first = errors.find(isRecord);
    if (first === undefined) return "";
    const { code, message } = first;
    return printable(
      `${typeof code === "string" ? code : "error"}${typeof message === "string" ? ` (${message})` : ""}`,
    );
  } catch {
    return "";
  }
}

/** The world did not get as far as an answer: no host, no connection, no trust. */
export function connectionFailure(question: Question, cause: unknown): ImageError {
  const error = cause as { readonly code?: string; readonly message?: string; readonly cause?: unknown };
  const inner = (error.code === undefined ? error.cause : undefined) as typeof error | undefined;
  const word = error.code ?? inner?.code ?? "";
  const said = word === "" ? printable(error.message ?? String(cause)) : word;
  const way = question.via === undefined ? "" : ` by the proxy ${question.via}`;
  const start = `${question.what} from ${question.from}${way}`;
  if (certificateWords.has(word)) {
    return new ImageError(
      `${start}: its certificate is not trusted (${said}); name the CA that signed it as \`ca\` in the hosts.toml of this host`,
      { code: "certificate-untrusted", retry: "when-changed", cause },
    );
  }
  if (word === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return new ImageError(
      `${start}: its certificate is for another name (${said}); use a name that the certificate has`,
      {
        code: "certificate-untrusted",
        retry: "when-changed",
        cause,
      },
    );
  }
  if (word.startsWith("ERR_SSL") || word === "EPROTO") {
    const isPlain = word.includes("WRONG_VERSION_NUMBER") || word.includes("PACKET_LENGTH");
    const hint = isPlain
      ? "it speaks plain HTTP; write its URL with http:// in hosts.toml, if you trust the network"
      : "name its client certificate as `client` in hosts.toml, if it wants one";
    return new ImageError(`${start}: no TLS (${said}); ${hint}`, {
      code: "certificate-untrusted",
      retry: "when-changed",
      cause,
    });
  }
  if (question.via !== undefined) {
    const whole = printable(error.message ?? said);
    const hint = "check HTTPS_PROXY and NO_PROXY, and what the proxy lets through";
    return new ImageError(`${start}: not reachable (${whole}); ${hint}`, {
      code: "registry-unreachable",
      retry: "backoff",
      cause,
    });
  }
  return new ImageError(
    `${start}: not reachable (${said}); check the host and the network, or serve it from a mirror`,
    {
      code: "registry-unreachable",
      retry: "backoff",
      cause,
    },
  );
}

const certificateWords = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "CERT_UNTRUSTED",
  "CERT_SIGNATURE_FAILURE",
  "INVALID_CA",
]);

/** What a registry says goes to terminals and into status: one line, no control characters, not long. */
export function printable(text: string): string {
  // oxlint-disable-next-line eslint/no-control-regex -- control characters are what it is about
  const line = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}
