import { addImageBuild } from "./image-build.ts";
import { addImageInspect } from "./image-inspect.ts";
import { addImagePull } from "./image-pull.ts";
import { addImagePush } from "./image-push.ts";
import { addImageVerify } from "./image-verify.ts";
import { addGenerateBuildArgs } from "./image-build-args.ts";
import type { DefineCommand } from "./mod.ts";

export const defineImage: DefineCommand = (program, world) => {
  const image = program
    .command("image")
    .summary("build, push, pull, inspect and verify bytecode images")
    .description("Images that carry a BPF object: one layer with the object, labels that say what is in it.");
  for (const add of [addImageBuild, addImagePush, addImagePull, addImageInspect, addImageVerify, addGenerateBuildArgs])
    add(image, world);
};
