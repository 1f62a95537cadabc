import { resolve } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import { Failure } from "../failure.ts";
import type { World } from "../world.ts";
import { authFlag, mirrorsFlag, readAccess } from "./image-access.ts";

export function addImagePush(image: Command, world: World): void {
  image
    .command("push")
    .summary("put an image into a registry")
    .description("Put an image that `ebpfctl image build` wrote into a registry, and print its name by digest.")
    .argument("<file>", "what `ebpfctl image build` wrote")
    .argument("<reference>", "host/repository:tag")
    .addOption(authFlag)
    .addOption(mirrorsFlag)
    .action(async (file, text, flags) => {
      const { ownPlatform, parseReference, pushImage, readLayout, RegistryClient } = await import("@bpfleet/oci");
      const reference = parseReference(text);
      if (reference.digest !== undefined)
        throw new Failure(`push ${text}: a digest cannot be chosen; give a tag, host/repository:tag`);
      const built = await readLayout(resolve(world.cwd, file), ownPlatform);
      await using client = await RegistryClient.open(reference, "push", await readAccess(flags, world));
      const digest = await pushImage(client, built, reference.tag ?? "latest");
      world.out.write(`${reference.host}/${reference.repository}@${digest}\n`);
    });
}
