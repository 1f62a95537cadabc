import type { JsonObject } from "../json-object.ts";
import type { Reference } from "../reference.ts";

/** `required`: unsigned is refused. `warn`: it is used, and said. `off`: nobody looks. */
export type SignatureMode = "required" | "warn" | "off";

/** One way to be accepted; one is enough. */
export type Accepted = AcceptedKey | AcceptedIdentity;

export interface AcceptedKey {
  readonly kind: "key";
  /** How people call it, in status and messages. */
  readonly name: string;
  /** Public key, PEM. */
  readonly pem: string;
  /** Also ask for an entry in a transparency log of the trusted root. */
  readonly needsTransparencyLog: boolean;
  readonly trustedRoot?: JsonObject | undefined;
}

export interface AcceptedIdentity {
  readonly kind: "identity";
  readonly name: string;
  /** Exactly the OpenID Connect issuer in the certificate. */
  readonly issuer: string;
  /** The subject exactly, or a regular expression that must match all of it. */
  readonly subject: string | RegExp;
  readonly needsTransparencyLog: boolean;
  readonly needsCertificateLog: boolean;
  /** `trusted_root.json` of Sigstore: the authorities and logs that are believed. */
  readonly trustedRoot: JsonObject;
}

export interface SignatureRule {
  /** `quay.io/bpfd-bytecode/*`: `*` is any text without /, `**` any text. */
  readonly images: readonly string[];
  readonly mode: SignatureMode;
  readonly accept: readonly Accepted[];
}

/** What a node asks of images; the first rule that fits an image decides, else the default. */
export interface ImagePolicy {
  readonly rules: readonly SignatureRule[];
  readonly default: Omit<SignatureRule, "images">;
}

/** Nobody looks: of a node that has no policy file. */
export const openPolicy: ImagePolicy = { rules: [], default: { mode: "off", accept: [] } };

/** The rule of an image, by the name that was asked for: a mirror does not change it. */
export function findRule(policy: ImagePolicy, { host, repository }: Reference): Omit<SignatureRule, "images"> {
  const name = `${host}/${repository}`;
  return policy.rules.find(({ images }) => images.some((pattern) => matchesImage(pattern, name))) ?? policy.default;
}

/** `name` is host/repository. */
export function matchesImage(pattern: string, name: string): boolean {
  const source = pattern
    .split(/(\*\*|\*)/)
    .map((part) => (part === "**" ? ".*" : part === "*" ? "[^/]*" : part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&")))
    .join("");
  return new RegExp(`^${source}$`, "s").test(name);
}
