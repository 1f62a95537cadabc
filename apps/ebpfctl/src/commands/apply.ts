import { answers } from "@bpfleet/agent";
import { kinds } from "@bpfleet/kinds";
import type { ClusterPlace } from "../cluster/cluster-place.ts";
import { parseConfig, type Config } from "../config.ts";
import { Failure, SilentFailure } from "../failure.ts";
import { parseDuration } from "../duration.ts";
import { admitObjects, type AdmittedObject } from "../manifests/admit-objects.ts";
import { readInputs } from "../manifests/read-inputs.ts";
import { countMistakes, renderIssues } from "../manifests/render-issues.ts";
import { waitForObjects } from "../resources/await-objects.ts";
import { errnoOf, openStore } from "../resources/load-node.ts";
import { namespaceAsked, openCluster } from "../resources/load-objects.ts";
import { singularName } from "../resources/resource-args.ts";
import type { World } from "../world.ts";
import { fileOptions } from "./file-options.ts";
import type { DefineCommand } from "./mod.ts";

const usualWait = "30s";

export const defineApply: DefineCommand = (program, world) => {
  fileOptions(
    program
      .command("apply")
      .summary("declare objects from files")
      .description(
        "Declare objects from files, folders or standard input (-). Everything is checked first: with one mistake in any document, all mistakes are told and nothing changes.",
      ),
  )
    .option("-n, --namespace <name>", "namespace of objects that name none")
    .option(
      "--dry-run <strategy>",
      "client: check and say what would be done, change nothing; server: in a cluster, its API server checks too",
    )
    .option("--force-conflicts", "in a cluster, take over fields that others manage")
    .option("--wait [duration]", `return when everything is in force, or fail after this time (${usualWait})`)
    .action(async (flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      const dryRun = parseDryRun(flags.dryRun, config);
      const isDryRun = dryRun !== "none";
      const inputs = await readInputs(flags, world);
      const usual = await namespaceAsked(flags, command, config, world);
      const { objects, issues } = admitObjects(inputs, kinds, flags.namespace, usual);
      world.err.write(renderIssues(issues));
      if (issues.some((issue) => issue.severity === "error"))
        throw new Failure(`${countMistakes(issues)}; nothing was changed`);
      if (config.cluster !== undefined) {
        if (flags.wait !== undefined)
          throw new Failure("the nodes of a cluster tell what became of it: kubectl wait --for=condition=Ready waits");
        return applyToCluster(objects, config.cluster, { dryRun, isForced: flags.forceConflicts === true }, world);
      }
      await store(objects, config, isDryRun, world);
      if (isDryRun) return;
      if (flags.wait !== undefined) {
        const timeoutMs = parseDuration(flags.wait === true ? usualWait : flags.wait);
        if (
          !(await waitForObjects(
            objects.map(({ ref }) => ref),
            timeoutMs,
            config,
            world,
          ))
        )
          throw new SilentFailure();
      } else if (!(await answers(config.agentSocket))) {
        world.err.write(`warning: nobody serves ${config.store} now; it takes effect with: ebpfctl up\n`);
      }
    });
};

type DryRun = "none" | "client" | "server";

function parseDryRun(strategy: string | undefined, { cluster }: Config): DryRun {
  if (strategy === undefined || strategy === "none") return "none";
  if (strategy === "client" || (strategy === "server" && cluster !== undefined)) return strategy;
  throw new Failure(
    `invalid dry-run value (${strategy}): must be "none" or "client"; 'ebpfctl diff -f' says what would change in the kernel`,
  );
}

async function applyToCluster(
  objects: readonly AdmittedObject[],
  place: ClusterPlace,
  { dryRun, isForced }: { readonly dryRun: DryRun; readonly isForced: boolean },
  world: World,
): Promise<void> {
  if (dryRun === "client") {
    for (const { kind, ref } of objects) world.out.write(`${singularName(kind)}/${ref.name} checked (dry run)\n`);
    return;
  }
  await using cluster = await openCluster(place, world);
  const isDryRun = dryRun === "server";
  for (const object of objects) {
    const outcome = await cluster.apply(object, { isDryRun, isForced });
    const suffix = isDryRun ? " (server dry run)" : "";
    world.out.write(`${singularName(object.kind)}/${object.ref.name} ${outcome}${suffix}\n`);
  }
}

async function store(
  objects: readonly AdmittedObject[],
  config: Config,
  isDryRun: boolean,
  world: World,
): Promise<void> {
  const directory = openStore(config, world);
  const wanted = objects.map(({ input, ref, value }) => ({
    ref,
    value,
    text: input.text,
    source: input.storedSource,
  }));
  try {
    const outcomes = isDryRun
      ? await Promise.all(wanted.map((each) => directory.compare(each)))
      : await directory.writeAll(wanted);
    for (const [at, { kind, ref }] of objects.entries())
      world.out.write(`${singularName(kind)}/${ref.name} ${outcomes[at]}${isDryRun ? " (dry run)" : ""}\n`);
  } catch (cause) {
    throw new Failure(`store objects in ${config.store}: ${errnoOf(cause)}; ${helpFor(cause)}`, { cause });
  }
}

function helpFor(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ENOSPC" || code === "EDQUOT") return "make room there, or give --store";
  if (code === "EROFS")
    return "it is mounted read-only: mount it writable, or give --store; what a cluster declares is applied by kubectl";
  return "run as root, or give --store";
}
