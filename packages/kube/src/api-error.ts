import type { ErrorCode, Retry } from "@bpfleet/base";

/** One field that the server refused, or one owner it conflicts with. */
export interface StatusCause {
  readonly field: string;
  readonly reason: string;
  readonly message: string;
}

export interface ApiErrorFields {
  readonly code: ErrorCode;
  /** HTTP status; 0 where no answer came. */
  readonly status: number;
  /** The server's word: `NotFound`, `Conflict`, `Expired`, `AlreadyExists`, `Invalid`, `Forbidden`, … */
  readonly reason: string;
  readonly causes?: readonly StatusCause[];
  readonly retry: Retry;
  readonly retryAfterMs?: number | undefined;
  readonly detail?: string | undefined;
  readonly cause?: unknown;
}

/** The API server refused, or could not be asked. The message is verb, object, what it said, what helps. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly reason: string;
  readonly causes: readonly StatusCause[];
  readonly retry: Retry;
  readonly retryAfterMs: number | undefined;
  readonly detail: string | undefined;

  constructor(message: string, fields: ApiErrorFields) {
    super(message, { cause: fields.cause });
    this.code = fields.code;
    this.status = fields.status;
    this.reason = fields.reason;
    this.causes = fields.causes ?? [];
    this.retry = fields.retry;
    this.retryAfterMs = fields.retryAfterMs;
    this.detail = fields.detail;
  }

  get isNotFound(): boolean {
    return this.status === 404;
  }

  /** The object was changed meanwhile, or another manager owns a field of it. */
  get isConflict(): boolean {
    return this.status === 409 && this.reason !== "AlreadyExists";
  }

  get isAlreadyExists(): boolean {
    return this.reason === "AlreadyExists";
  }

  /** The version that was asked for is no longer kept. */
  get isExpired(): boolean {
    return this.status === 410 || this.reason === "Expired" || this.reason === "Gone";
  }

  get isForbidden(): boolean {
    return this.status === 403;
  }
}

export function isApiError(error: unknown): error is ApiError {
  return error instanceof ApiError;
}

/** Whether the server said no to what was asked of it; not that it could not be asked, or that somebody was faster. */
export function isRefusal(error: unknown): error is ApiError {
  return isApiError(error) && !passing.has(error.status) && !error.isConflict;
}

const passing: ReadonlySet<number> = new Set([0, 401, 404, 408, 410, 429, 502, 503, 504]);

/** A `Status` as the server sends it, in an answer or in an event of type ERROR. */
interface WireStatus {
  readonly message?: unknown;
  readonly reason?: unknown;
  readonly code?: unknown;
  readonly details?: { readonly causes?: unknown; readonly retryAfterSeconds?: unknown } | null;
}

const help: Readonly<Record<number, string>> = {
  401: "the credentials are missing, wrong or expired",
  403: "grant it by a Role or ClusterRole",
};

/** What the server's answer means; `doing` is the verb and the object. */
export function refusal(doing: string, httpStatus: number, body: unknown, retryAfterMs?: number): ApiError {
  const status: WireStatus = typeof body === "object" && body !== null ? body : {};
  const code = typeof status.code === "number" && status.code > 0 ? status.code : httpStatus;
  const reason = typeof status.reason === "string" && status.reason !== "" ? status.reason : reasonOf(code);
  const causes = parseCauses(status.details?.causes);
  const said = typeof status.message === "string" && status.message !== "" ? oneLine(status.message) : reason;
  const seconds = status.details?.retryAfterSeconds;
  const hint = help[code];
  return new ApiError(`${doing}: ${said} (${code})${hint === undefined ? "" : `; ${hint}`}`, {
    code: errorCodeOf(code, reason),
    status: code,
    reason,
    causes,
    retry: retryOf(code, reason),
    retryAfterMs: retryAfterMs ?? (typeof seconds === "number" && seconds > 0 ? seconds * 1000 : undefined),
    detail: typeof body === "string" ? body.slice(0, 4096) : undefined,
  });
}

/** No answer came, or one that cannot be read. */
export function unanswered(doing: string, said: string, cause?: unknown): ApiError {
  return new ApiError(`${doing}: ${said}; it is tried again where that can help`, {
    code: "api-unreachable",
    status: 0,
    reason: "Unreachable",
    retry: "backoff",
    cause,
  });
}

/** It came, and our own code could not take it in. */
export function notTakenIn(doing: string, said: string, cause: unknown): ApiError {
  return new ApiError(`${doing}: ${said}; report it with the object`, {
    code: "internal",
    status: 0,
    reason: "NotTakenIn",
    retry: "when-changed",
    cause,
  });
}

function parseCauses(causes: unknown): readonly StatusCause[] {
  if (!Array.isArray(causes)) return [];
  return causes.flatMap((cause: unknown): StatusCause[] => {
    if (typeof cause !== "object" || cause === null) return [];
    const fields = cause as Readonly<Record<string, unknown>>;
    const text = (name: string): string => (typeof fields[name] === "string" ? fields[name] : "");
    return [{ field: text("field"), reason: text("reason"), message: text("message") }];
  });
}

function oneLine(text: string): string {
  const joined = text
    .trim()
    .replaceAll(/:\s*\n\s*/g, ": ")
    .replaceAll(/\s*\n\s*/g, "; ");
  return joined.slice(0, 2048);
}

function reasonOf(status: number): string {
  return reasons[status] ?? (status >= 500 ? "InternalError" : "BadRequest");
}

const reasons: Readonly<Record<number, string>> = {
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  405: "MethodNotAllowed",
  409: "Conflict",
  410: "Expired",
  413: "RequestEntityTooLarge",
  415: "UnsupportedMediaType",
  422: "Invalid",
  429: "TooManyRequests",
  503: "ServiceUnavailable",
  504: "Timeout",
};

function errorCodeOf(status: number, reason: string): ErrorCode {
  if (reason === "AlreadyExists") return "exists";
  switch (status) {
    case 401:
      return "api-unauthorized";
    case 403:
      return "api-forbidden";
    case 404:
      return "not-found";
    case 409:
    case 410:
      return "stale";
    case 413:
      return "too-big";
    case 429:
    case 503:
    case 504:
      return "api-unreachable";
    default:
      return status >= 500 ? "api-unreachable" : "invalid";
  }
}

function retryOf(status: number, reason: string): ApiError["retry"] {
  if (status === 429 || status >= 500 || status === 401) return "backoff";
  if (reason === "AlreadyExists") return "when-changed";
  if (status === 403 || status === 404 || status === 409 || status === 410) return "when-changed";
  return "never";
}
