import { writeFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import { Failure } from "../failure.ts";
import type { World } from "../world.ts";

export function addImageBuild(image: Command, world: World): void {
  image
    .command("build")
    .summary("put an object into an image")
    .description(
      "Put an object into an image, written as an OCI archive that `ebpfctl image push`, skopeo and podman read. Labels are read from the object; the same object and flags give the same bytes.",
    )
    .argument("<object>", "what clang -target bpf made")
    .option("-o, --output <file>", "where to write it; usually the object's name with .oci.tar")
    .option("--program <name>", "which program the labels of a single program are about; needed when there are several")
    .option("--name <text>", "io.ebpf.program_name; usually the program's function")
    .option("--type <text>", "io.ebpf.program_type; usually as the program's section says")
    .option("--section <text>", "io.ebpf.section_name; usually the program's section without its type")
    .option("--kernel-version <text>", "io.ebpf.kernel_version: what it was compiled against")
    .option("--label <name=value>", "a further label; may be given several times", collect, [] as readonly string[])
    .option(
      "--architecture <name>",
      "what it is listed as in an index; bytecode runs on all of its byte order",
      "amd64",
    )
    .action(async (path, flags) => {
      const [{ readObject }, { buildImage, renderLayout }] = await Promise.all([
        import("./image-object.ts"),
        import("@bpfleet/oci"),
      ]);
      const { bytes, labels } = await readObject(resolve(world.cwd, path), flags);
      const { architecture } = flags;
      const built = buildImage({ object: bytes, labels, further: readLabelFlags(flags.label), architecture });
      const output = flags.output ?? `${basename(path).replace(/(\.bpf)?\.o$/, "")}.oci.tar`;
      try {
        await writeFile(resolve(world.cwd, output), renderLayout(built));
      } catch (cause) {
        throw new Failure(`write ${output}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, { cause });
      }
      if (labels.programName === undefined)
        world.err.write(
          "note: there are several programs; without --program the image has no labels of a single one\n",
        );
      world.out.write(`${output}: ${built.digest}\n`);
    });
}

function collect(value: string, all: readonly string[]): readonly string[] {
  return [...all, value];
}

function readLabelFlags(flags: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    flags.map((flag) => {
      const equals = flag.indexOf("=");
      if (equals < 1) throw new Failure(`read --label ${flag}: it must be name=value`);
      return [flag.slice(0, equals), flag.slice(equals + 1)];
    }),
  );
}
