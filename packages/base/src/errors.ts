/**
 * The one table of what can go wrong in the world: its condition reason, what helps, and the exit
 * code of the command line. The reference page docs/reference/errors.md is made from it.
 */
export const errorCodes = {
  "no-permission": {
    reason: "PermissionDenied",
    exitCode: 1,
    hint: "run as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN",
  },
  "not-found": { reason: "NotFound", exitCode: 1, hint: "check the name" },
  exists: { reason: "AlreadyExists", exitCode: 1, hint: "choose another name or remove the one that is there" },
  busy: {
    reason: "HookOccupied",
    exitCode: 1,
    hint: "another program holds this hook: `ebpfctl prog list` names its owner",
  },
  invalid: { reason: "Invalid", exitCode: 1, hint: "correct the value that the message names" },
  "not-supported": { reason: "NotSupported", exitCode: 1, hint: "`ebpfctl version` lists what this kernel offers" },
  verifier: {
    reason: "VerifierRejected",
    exitCode: 1,
    hint: "the telling line of the verifier's log is shown; -v prints all of it",
  },
  "no-btf": { reason: "NoBTF", exitCode: 1, hint: "build the object with clang -g so that it carries BTF" },
  "not-elf": { reason: "NotAnObject", exitCode: 1, hint: "give an ELF object made by clang -target bpf" },
  "too-big": { reason: "TooBig", exitCode: 1, hint: "make the declaration smaller" },
  full: { reason: "MapFull", exitCode: 1, hint: "raise maxEntries or remove entries" },
  "interface-missing": {
    reason: "InterfaceNotFound",
    exitCode: 1,
    hint: "it is attached as soon as the interface appears",
  },
  stale: { reason: "ChangedMeanwhile", exitCode: 1, hint: "it is tried again by itself" },
  unreachable: { reason: "DaemonUnreachable", exitCode: 1, hint: "start it with `ebpfctl up`" },
  "registry-unreachable": {
    reason: "RegistryUnreachable",
    exitCode: 1,
    hint: "check the host and the network, or serve the image from a mirror",
  },
  "registry-refused": { reason: "RegistryRefused", exitCode: 1, hint: "ask whoever runs the registry" },
  unauthorized: { reason: "Unauthorized", exitCode: 1, hint: "give a pull secret for this host" },
  "certificate-untrusted": {
    reason: "CertificateUntrusted",
    exitCode: 1,
    hint: "name the CA of the registry as `ca` in its hosts.toml",
  },
  "image-not-found": { reason: "ImageNotFound", exitCode: 1, hint: "check the repository and the tag" },
  "image-malformed": {
    reason: "ImageMalformed",
    exitCode: 1,
    hint: "build it with `ebpfctl image build`, or see docs/guides/images.md for what an image must be",
  },
  "digest-mismatch": {
    reason: "DigestMismatch",
    exitCode: 1,
    hint: "the content was changed or damaged on its way; nothing of it is used",
  },
  "signature-refused": {
    reason: "SignatureRefused",
    exitCode: 1,
    hint: "sign the image, or change the image policy of this node",
  },
  "api-unreachable": {
    reason: "ApiServerUnreachable",
    exitCode: 1,
    hint: "check that the API server runs and that the kubeconfig names its address",
  },
  "api-unauthorized": {
    reason: "ApiUnauthorized",
    exitCode: 1,
    hint: "renew the credentials of the kubeconfig's user, or the token of the service account",
  },
  "api-forbidden": {
    reason: "ApiForbidden",
    exitCode: 1,
    hint: "`kubectl auth can-i --list` says what is granted; a Role or ClusterRole grants more",
  },
  kubeconfig: {
    reason: "KubeconfigInvalid",
    exitCode: 1,
    hint: "correct the field that the message names; `kubectl config view` shows the file as it is read",
  },
  internal: { reason: "InternalError", exitCode: 1, hint: "report it with the output of -v" },
} as const satisfies Record<string, ErrorFacts>;

interface ErrorFacts {
  readonly reason: string;
  readonly exitCode: number;
  readonly hint: string;
}

export type ErrorCode = keyof typeof errorCodes;

/** When trying the same call again can help. */
export type Retry = "never" | "backoff" | "when-changed";

export interface KernelErrorFields {
  readonly code: ErrorCode;
  /** The system or library call that failed, e.g. `BPF_LINK_CREATE`. */
  readonly call: string;
  readonly errno?: string | undefined;
  readonly retry: Retry;
  /** Long form for `-v`: verifier log, library warnings. */
  readonly detail?: string | undefined;
  readonly cause?: unknown;
}

/** The kernel refused or lacks something. The message is verb, object, what the kernel said, what helps. */
export class KernelError extends Error {
  override readonly name = "KernelError";
  readonly code: ErrorCode;
  readonly call: string;
  readonly errno: string | undefined;
  readonly retry: Retry;
  readonly detail: string | undefined;

  constructor(message: string, fields: KernelErrorFields) {
    super(message, { cause: fields.cause });
    this.code = fields.code;
    this.call = fields.call;
    this.errno = fields.errno;
    this.retry = fields.retry;
    this.detail = fields.detail;
  }
}

export interface ImageErrorFields {
  readonly code: ErrorCode;
  readonly retry: Retry;
  /** Long form for `-v`: what the registry answered, every signature that was tried. */
  readonly detail?: string | undefined;
  readonly cause?: unknown;
}

/** An image cannot be had or must not be used. The message is verb, object, what was said, what helps. */
export class ImageError extends Error {
  override readonly name = "ImageError";
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly detail: string | undefined;

  constructor(message: string, fields: ImageErrorFields) {
    super(message, { cause: fields.cause });
    this.code = fields.code;
    this.retry = fields.retry;
    this.detail = fields.detail;
  }
}
