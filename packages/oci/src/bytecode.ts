import type { Digest } from "./digest.ts";

/** What the labels of an image say about its object; each is there when the image has it. */
export interface BytecodeLabels {
  /** `io.ebpf.program_type`, as written: `xdp`, `tc`, `tracepoint`, … */
  readonly programType?: string | undefined;
  /** `io.ebpf.filename`: name of the object file in the layer. */
  readonly filename?: string | undefined;
  /** `io.ebpf.program_name`. */
  readonly programName?: string | undefined;
  /** `io.ebpf.section_name`. */
  readonly sectionName?: string | undefined;
  /** `io.ebpf.bpf_function_name`. */
  readonly functionName?: string | undefined;
  /** `io.ebpf.kernel_version`: what it was compiled against; never enforced. */
  readonly kernelVersion?: string | undefined;
  /** `io.ebpf.programs`: function name → program type. */
  readonly programs?: Readonly<Record<string, string>> | undefined;
  /** `io.ebpf.maps`: map name → map type. */
  readonly maps?: Readonly<Record<string, string>> | undefined;
  /** Every label of the image, as written. */
  readonly all: Readonly<Record<string, string>>;
}

/** Who signed an image, or exactly why that cannot be said. */
export type SignatureOutcome =
  | { readonly state: "verified"; readonly by: Signer; readonly format: SignatureFormat }
  /** The policy is `off` for this image: nobody looked. */
  | { readonly state: "not-checked"; readonly reason: string }
  /** Nothing signs this digest. */
  | { readonly state: "unsigned"; readonly reason: string }
  /** There are signatures, and none that the policy accepts. */
  | { readonly state: "refused"; readonly reason: string; readonly attempts: readonly string[] };

export type SignatureFormat = "bundle" | "simplesigning";

export type Signer =
  | { readonly kind: "key"; readonly name: string; readonly fingerprint: string }
  | { readonly kind: "identity"; readonly name: string; readonly issuer: string; readonly subject: string };

/** An object out of an image, verified: these very bytes are to be loaded. */
export interface Bytecode {
  /** In full: `quay.io/bpfd-bytecode/xdp_pass:latest`. */
  readonly reference: string;
  /** Of the manifest for this platform; signatures are over this, or over the index that lists it. */
  readonly digest: Digest;
  /** sha256 of `bytes`. */
  readonly objectDigest: Digest;
  /** The ELF object. */
  readonly bytes: Uint8Array;
  readonly labels: BytecodeLabels;
  readonly signature: SignatureOutcome;
  /** What people should be told, though the image is used: a policy of `warn` that found no good signature. */
  readonly warnings: readonly string[];
  /** Where the bytes came from this time. */
  readonly from: "registry" | "store";
}

export type PullPolicy = "Always" | "IfNotPresent" | "Never";
