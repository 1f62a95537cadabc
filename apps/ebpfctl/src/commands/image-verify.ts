import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import type { ImagePolicy } from "@bpfleet/oci";
import { Failure } from "../failure.ts";
import type { World } from "../world.ts";
import {
  authFlag,
  mirrorsFlag,
  platformFlag,
  policyFlag,
  readAccess,
  readPolicy,
  renderSignature,
  valueOf,
} from "./image-access.ts";

interface SignerFlags {
  readonly key?: string | undefined;
  readonly certificateIdentity?: string | undefined;
  readonly certificateIdentityRegexp?: string | undefined;
  readonly certificateOidcIssuer?: string | undefined;
  readonly trustedRoot?: string | undefined;
  readonly policy?: string | undefined;
}

export function addImageVerify(image: Command, world: World): void {
  image
    .command("verify")
    .summary("say whether an image is signed, and by whom")
    .description(
      "Verify the signature of an image over its digest, offline but for the registry: by the image policy of this node, or by a key or an identity given here. Exits with 1 when it is refused.",
    )
    .argument("<reference>", "host/repository:tag")
    .option("--key <file>", "public key, PEM")
    .option("--certificate-identity <text>", "the subject of the certificate, exactly")
    .option("--certificate-identity-regexp <pattern>", "the subject of the certificate: a pattern for all of it")
    .option("--certificate-oidc-issuer <url>", "the issuer in the certificate, exactly")
    .option("--trusted-root <file>", "trusted_root.json of Sigstore, for identities")
    .addOption(policyFlag)
    .addOption(authFlag)
    .addOption(mirrorsFlag)
    .addOption(platformFlag)
    .action(async (text, flags) => {
      const { ContentStore, fetchBytecode, findRule, parseReference } = await import("@bpfleet/oci");
      const policy = (await policyOfFlags(flags, world)) ?? (await readPolicy(flags.policy, world));
      const { mode, accept } = findRule(policy, parseReference(text));
      if (mode === "off")
        throw new Failure(
          `verify ${text}: the image policy is off for it; give --key, or --certificate-identity with its issuer`,
        );
      const directory = await mkdtemp(join(tmpdir(), "ebpfctl-image-"));
      try {
        const verified = await fetchBytecode({
          reference: text,
          pullPolicy: "Always",
          policy: { rules: [], default: { mode: "required", accept } },
          store: new ContentStore(directory),
          ...(await readAccess(flags, world)),
          ...(flags.platform === undefined ? {} : { platform: flags.platform }),
        });
        world.out.write(`${verified.reference}: ${verified.digest}\n${renderSignature(verified.signature)}\n`);
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    });
}

/** What the flags ask for, read as a policy file would be; `undefined` when there are none. */
async function policyOfFlags(flags: SignerFlags, world: World): Promise<ImagePolicy | undefined> {
  const { key, certificateIdentity, certificateIdentityRegexp, certificateOidcIssuer, trustedRoot } = flags;
  if (
    [key, certificateIdentity, certificateIdentityRegexp, certificateOidcIssuer, trustedRoot].every(
      (flag) => flag === undefined,
    )
  )
    return undefined;
  const isIdentity = certificateIdentity !== undefined || certificateIdentityRegexp !== undefined;
  if (isIdentity && (certificateOidcIssuer === undefined || trustedRoot === undefined))
    throw new Failure("verify by identity: give --certificate-oidc-issuer and --trusted-root too");
  if (!isIdentity && key === undefined)
    throw new Failure(
      "verify: give --key, or --certificate-identity with --certificate-oidc-issuer and --trusted-root",
    );
  const { parseImagePolicy } = await import("@bpfleet/oci");
  const identity = {
    issuer: certificateOidcIssuer,
    ...(certificateIdentity === undefined ? {} : { subject: certificateIdentity }),
    ...(certificateIdentityRegexp === undefined ? {} : { subjectPattern: certificateIdentityRegexp }),
  };
  const file = {
    apiVersion: "bpfleet.io/v1alpha1",
    kind: "ImagePolicy",
    ...(trustedRoot === undefined ? {} : { trustedRoot }),
    default: {
      mode: "required",
      accept: {
        keys: key === undefined ? [] : [{ name: key, file: key }],
        identities: isIdentity ? [identity] : [],
      },
    },
  };
  const read = (path: string) => readFile(path, "utf8");
  const path = resolve(world.cwd, "command line");
  return valueOf(await parseImagePolicy(JSON.stringify(file), path, read), path);
}
