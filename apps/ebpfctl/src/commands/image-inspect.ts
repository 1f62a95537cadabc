import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import { alignTabs, describeTabs } from "@bpfleet/base";
import type { BytecodeLabels, ImagePolicy, SignatureOutcome } from "@bpfleet/oci";
import type { World } from "../world.ts";
import {
  authFlag,
  mirrorsFlag,
  outputFlag,
  platformFlag,
  policyFlag,
  readAccess,
  readPolicy,
  renderSignature,
} from "./image-access.ts";

interface Inspection {
  readonly name: string;
  readonly digest: string;
  readonly objectDigest: string;
  readonly objectBytes: number;
  readonly labels: BytecodeLabels;
  readonly signature?: SignatureOutcome;
}

export function addImageInspect(image: Command, world: World): void {
  image
    .command("inspect")
    .summary("show what is in an image, and who signed it")
    .description(
      "Show the labels, the object and the signature of an image in a registry, or of a file that `ebpfctl image build` wrote. Nothing is kept.",
    )
    .argument("<image>", "host/repository:tag, or a file that ends in .tar")
    .addOption(outputFlag)
    .addOption(authFlag)
    .addOption(mirrorsFlag)
    .addOption(policyFlag)
    .addOption(platformFlag)
    .action(async (name, flags) => {
      const { ownPlatform } = await import("@bpfleet/oci");
      const platform = flags.platform ?? ownPlatform;
      const inspection = name.endsWith(".tar")
        ? await inspectFile(resolve(world.cwd, name), platform)
        : await inspectRemote(
            name,
            { platform, ...(await readAccess(flags, world)) },
            await readPolicy(flags.policy, world),
          );
      world.out.write(await render(inspection, flags.output));
    });
}

async function inspectFile(path: string, platform: string): Promise<Inspection> {
  const { isIndex, parseManifest, readBytecode, readLayout } = await import("@bpfleet/oci");
  const built = await readLayout(path, platform);
  const manifest = parseManifest(built.manifest, path);
  if (isIndex(manifest)) throw new TypeError("readLayout returns an image");
  const { object, objectDigest, labels } = readBytecode({ ...built, manifest }, path);
  return { name: path, digest: built.digest, objectDigest, objectBytes: object.length, labels };
}

type Reach = Awaited<ReturnType<typeof readAccess>> & { readonly platform: string };

async function inspectRemote(reference: string, reach: Reach, policy: ImagePolicy): Promise<Inspection> {
  const { ContentStore, fetchBytecode } = await import("@bpfleet/oci");
  const directory = await mkdtemp(join(tmpdir(), "ebpfctl-image-"));
  try {
    const store = new ContentStore(directory);
    const fetched = await fetchBytecode({
      reference,
      pullPolicy: "Always",
      policy: refuseNothing(policy),
      store,
      ...reach,
    });
    const { digest, objectDigest, bytes, labels, signature } = fetched;
    return { name: fetched.reference, digest, objectDigest, objectBytes: bytes.length, labels, signature };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** To look at an image is no harm, whoever signed it. */
function refuseNothing(policy: ImagePolicy): ImagePolicy {
  const soften = <T extends ImagePolicy["default"]>(rule: T): T =>
    rule.mode === "required" ? { ...rule, mode: "warn" } : rule;
  return { rules: policy.rules.map(soften), default: soften(policy.default) };
}

/** What somebody wrote into an image must not steer the terminal of whoever looks at it. */
function printable(text: string): string {
  return text.replaceAll(/\p{Control}/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

async function render(inspection: Inspection, form: "json" | "yaml" | undefined): Promise<string> {
  if (form === "json") return `${JSON.stringify(inspection, undefined, 2)}\n`;
  if (form === "yaml") return (await import("@bpfleet/kinds")).renderYaml(inspection);
  const { labels, signature } = inspection;
  const table = (title: string, entries: Readonly<Record<string, string>> | undefined) =>
    entries === undefined
      ? []
      : [title, ...Object.entries(entries).map(([name, text]) => `  ${printable(name)}\t${printable(text)}`)];
  const lines = [
    `Name:\t${inspection.name}`,
    `Digest:\t${inspection.digest}`,
    `Object:\t${inspection.objectDigest} (${inspection.objectBytes} bytes)`,
    ...(signature === undefined ? [] : [`Signature:\t${renderSignature(signature)}`]),
    ...table("Labels:", labels.all),
    ...table("Programs:", labels.programs),
    ...table("Maps:", labels.maps),
  ];
  return `${alignTabs(lines, describeTabs)}\n`;
}
