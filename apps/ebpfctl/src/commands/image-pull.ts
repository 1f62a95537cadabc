import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import { Option } from "@commander-js/extra-typings";
import { parseConfig, type GlobalFlags } from "../config.ts";
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
} from "./image-access.ts";

export function addImagePull(image: Command, world: World): void {
  image
    .command("pull")
    .summary("fetch an image and verify it")
    .description(
      "Fetch an image into the content store of this node as the daemon would: every byte is checked against its digest, the signature against the image policy.",
    )
    .argument("<reference>", "host/repository:tag")
    .option("--object <file>", "write the object to this file")
    .addOption(
      new Option("--pull-policy <policy>", "whether to ask the registry")
        .choices(["Always", "IfNotPresent", "Never"] as const)
        .default("Always" as const),
    )
    .addOption(authFlag)
    .addOption(mirrorsFlag)
    .addOption(policyFlag)
    .addOption(platformFlag)
    .action(async (reference, flags, command) => {
      const { ContentStore, fetchBytecode } = await import("@bpfleet/oci");
      const { state } = parseConfig(command.optsWithGlobals() as GlobalFlags, world);
      const { platform } = flags;
      const pulled = await fetchBytecode({
        reference,
        pullPolicy: flags.pullPolicy,
        policy: await readPolicy(flags.policy, world),
        store: new ContentStore(join(state, "oci")),
        ...(await readAccess(flags, world)),
        ...(platform === undefined ? {} : { platform }),
      });
      for (const warning of pulled.warnings) world.err.write(`warning: ${warning}\n`);
      if (flags.object !== undefined) {
        try {
          await writeFile(resolve(world.cwd, flags.object), pulled.bytes);
        } catch (cause) {
          throw new Failure(`write ${flags.object}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, {
            cause,
          });
        }
      }
      world.out.write(`${pulled.reference}: ${pulled.digest}\nsignature ${renderSignature(pulled.signature)}\n`);
    });
}
