import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { errorText, renderRef } from "@bpfleet/base";
import { kinds } from "@bpfleet/kinds";
import { parseConfig } from "../config.ts";
import { Failure, SilentFailure } from "../failure.ts";
import { admitObjects } from "../manifests/admit-objects.ts";
import { readInputs } from "../manifests/read-inputs.ts";
import { count, countMistakes, renderIssues } from "../manifests/render-issues.ts";
import { isOldPolicy, migrateObjects, type MigratedObjects } from "../migrate/migrate-objects.ts";
import { renderDifference } from "../migrate/render-difference.ts";
import { renderMigrated } from "../migrate/render-migrated.ts";
import { parseForm } from "../output/parse-form.ts";
import type { World } from "../world.ts";
import { fileOptions, type FileFlags } from "./file-options.ts";
import type { DefineCommand } from "./mod.ts";

/** kubectl diff's: 1 says that there are differences, so errors are 2. */
const exitDifferent = 1;
const exitError = 2;

interface MigrateFlags extends FileFlags {
  readonly namespace?: string | undefined;
  readonly output?: string | undefined;
  readonly outputDir?: string | undefined;
}

export const defineMigrate: DefineCommand = (program, world) => {
  fileOptions(
    program
      .command("migrate")
      .summary("make policies of Cilium's kinds of EBPFNetworkPolicies")
      .description(
        "Write a CiliumNetworkPolicy for each EBPFNetworkPolicy in these files (a CiliumClusterwideNetworkPolicy where it selects nodes), and compare what both let pass: every packet that the policies of the files tell apart, for the pods, nodes and namespaces of the files, or for pods and nodes of every sort where there are none. Packets whose verdict would be another one are listed with both reasons. Nothing is applied. Exit code 0: both mean the same, 1: they differ, 2: something has no image, or is wrong.",
      ),
  )
    .option("-n, --namespace <name>", "namespace of objects that name none")
    .option("-o, --output <form>", "yaml, as without it")
    .option("--output-dir <directory>", "a file for each new object, in place of standard output")
    .action(async (flags, command) => {
      parseConfig(command.optsWithGlobals(), world);
      try {
        if (await migrate(flags, world)) throw new SilentFailure(exitDifferent);
      } catch (error) {
        if (error instanceof SilentFailure) throw error;
        const message = errorText(error);
        throw new Failure(message, { exitCode: exitError, cause: error });
      }
    });
};

/** Whether anything differs. */
async function migrate(flags: MigrateFlags, world: World): Promise<boolean> {
  parseForm(flags.output, "yaml");
  const { objects, issues } = admitObjects(await readInputs(flags, world), kinds, flags.namespace);
  const faults = issues.filter(({ severity, code }) => severity === "error" || code !== "deprecated-kind");
  world.err.write(renderIssues(faults));
  if (issues.some(({ severity }) => severity === "error")) throw new Failure(countMistakes(issues));
  if (!objects.some(({ parsed }) => isOldPolicy(parsed)))
    throw new Failure("none of the objects is an EBPFNetworkPolicy");
  const result = migrateObjects(objects.map(({ parsed }) => parsed));
  const written = result.written.map((each) => {
    const input = objects.find(({ parsed }) => parsed === each.parsed)?.input;
    return { each, yaml: renderMigrated(each, input) };
  });
  if (flags.outputDir === undefined) world.out.write(written.map(({ yaml }) => yaml).join("---\n"));
  else await writeFiles(resolve(world.cwd, flags.outputDir), flags.outputDir, written, world);
  world.err.write(renderIssues(result.issues));
  tell(result, world);
  if (result.issues.some(({ severity }) => severity === "error")) throw new Failure(countMistakes(result.issues));
  if (result.comparison.refused.length > 0) throw new Failure("what the policies mean cannot be compared");
  return result.comparison.differences.length > 0;
}

type Migrated = MigratedObjects["migrated"][number];

async function writeFiles(
  directory: string,
  shown: string,
  written: readonly { readonly each: Migrated; readonly yaml: string }[],
  world: World,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const { each, yaml } of written) {
    const { namespace, name } = each.object?.metadata ?? {};
    const file = `${namespace === undefined ? "" : `${namespace}-`}${name}.yaml`;
    await writeFile(join(directory, file), yaml);
    world.out.write(`${join(shown, file)}\n`);
  }
}

function tell(result: MigratedObjects, world: World): void {
  const { differences, isPartial, refused } = result.comparison;
  for (const { ref, why } of refused) world.err.write(`error: ${renderRef(ref)}: ${why}\n`);
  for (const difference of differences) world.err.write(renderDifference(difference));
  const number = differences.length;
  const whom = nameCompared(result);
  world.err.write(
    `${number === 0 ? "no packet is judged otherwise" : count(number, "difference")}: compared for ${whom}\n`,
  );
  if (isPartial)
    world.err.write(
      "warning: the selectors tell more sorts of pods or nodes apart than were compared; give the Pod and Node objects beside the policies\n",
    );
}

/** For whom it holds what was found. */
function nameCompared({ comparison: { madeUp, madeUpNodes = 0 } }: MigratedObjects): string {
  const nodes = `${count(madeUpNodes, "sort")} of nodes`;
  if (madeUp !== undefined)
    return `${count(madeUp, "sort")} of pods${madeUpNodes === 0 ? "" : ` and ${nodes}`} that the policies tell apart`;
  return madeUpNodes === 0
    ? "the pods and nodes of the files"
    : `the pods of the files and ${nodes} that the policies tell apart`;
}
