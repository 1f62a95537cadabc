import { syncAgent } from "@bpfleet/agent";
import { KernelError, type ObjectRef } from "@bpfleet/base";
import { kinds, type Kind } from "@bpfleet/kinds";
import { parseConfig, type Config } from "../config.ts";
import { Failure, SilentFailure } from "../failure.ts";
import { identifyObjects, madeMessage } from "../manifests/admit-objects.ts";
import { readInputs } from "../manifests/read-inputs.ts";
import { countMistakes, renderIssues } from "../manifests/render-issues.ts";
import { parseLabelSelector } from "../resources/label-selector.ts";
import { errnoOf, openStore } from "../resources/load-node.ts";
import { loadObjects, namespaceAsked, openCluster } from "../resources/load-objects.ts";
import { parseResourceArgs, resourceName, singularName } from "../resources/resource-args.ts";
import { selectObjects } from "../resources/select-objects.ts";
import type { World } from "../world.ts";
import { fileOptions, type FileFlags } from "./file-options.ts";
import type { DefineCommand } from "./mod.ts";

interface Doomed {
  readonly kind: Kind;
  readonly ref: ObjectRef;
}

interface DeleteFlags extends FileFlags {
  readonly namespace?: string | undefined;
  readonly allNamespaces?: true | undefined;
  readonly selector?: string | undefined;
  readonly all?: true | undefined;
  readonly ignoreNotFound?: true | undefined;
}

export const defineDelete: DefineCommand = (program, world) => {
  fileOptions(
    program
      .command("delete")
      .summary("remove objects")
      .description("Remove objects by file, by name, by label or all of a kind; what they asked for leaves the kernel.")
      .argument("[resource...]", "a kind by any of its names, then names; or kind/name"),
  )
    .option("-n, --namespace <name>", "namespace of the objects (default)")
    .option("-A, --all-namespaces", "objects of every namespace")
    .option("-l, --selector <labels>", "objects with these labels")
    .option("--all", "all objects of the kind")
    .option("--ignore-not-found", "an object that is not there is no error")
    .option("--dry-run <strategy>", "client: say what would be removed, change nothing")
    .option("--no-wait", "return before the kernel has followed")
    .action(async (words, flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      if (flags.dryRun !== undefined && flags.dryRun !== "client" && flags.dryRun !== "none")
        throw new Failure(`invalid dry-run value (${flags.dryRun}): must be "none" or "client"`);
      const isDryRun = flags.dryRun === "client";
      const namespace = await namespaceAsked(flags, command, config, world);
      const isByFile = flags.filename.length > 0;
      const { doomed, hasFailed } = isByFile
        ? await findByFile(words, flags, namespace, world)
        : await findByName(words, flags, namespace, config, world);
      const missing = await removeAll(doomed, config, isDryRun, flags.ignoreNotFound === true, world);
      if (!isDryRun && flags.wait && doomed.length > missing) await awaitKernel(config);
      if (hasFailed || (missing > 0 && flags.ignoreNotFound !== true)) throw new SilentFailure();
    });
};

interface Found {
  readonly doomed: readonly Doomed[];
  readonly hasFailed: boolean;
}

async function findByFile(
  words: readonly string[],
  flags: DeleteFlags,
  usual: string | undefined,
  world: World,
): Promise<Found> {
  if (words.length > 0)
    throw new Failure(
      "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
    );
  const { objects, issues } = identifyObjects(await readInputs(flags, world), kinds, flags.namespace, usual);
  world.err.write(renderIssues(issues));
  if (issues.some((issue) => issue.severity === "error"))
    throw new Failure(`${countMistakes(issues)}; nothing was removed`);
  return { doomed: objects, hasFailed: false };
}

async function findByName(
  words: readonly string[],
  flags: DeleteFlags,
  namespace: string | undefined,
  config: Config,
  world: World,
): Promise<Found> {
  const asked = parseResourceArgs(words);
  const wishes = asked.filter(({ kind }) => kind.madeFrom === undefined);
  const made = asked.find(({ kind }) => kind.madeFrom !== undefined);
  if (made !== undefined && words[0] !== "all") throw new Failure(madeMessage(made.kind));
  const isNamed = wishes.some(({ names }) => names.length > 0);
  const isChosen = flags.all === true || flags.selector !== undefined;
  if (!isNamed && !isChosen)
    throw new Failure("resource(s) were provided, but no name was specified; name them, or give --all or -l");
  if (isNamed && isChosen) throw new Failure("name cannot be provided when a selector or --all is specified");
  const scope = {
    namespace,
    matches: flags.selector === undefined ? undefined : parseLabelSelector(flags.selector),
  };
  const selection = selectObjects(await loadObjects(config, world, { wishes, scope, isBare: true }), wishes, scope);
  const failures = flags.ignoreNotFound === true ? [] : selection.failures;
  for (const failure of failures) world.err.write(`${failure.message}\n`);
  const doomed = selection.kinds.flatMap(({ kind, objects }) => objects.map(({ ref }) => ({ kind, ref })));
  if (doomed.length === 0 && selection.failures.length === 0) world.err.write("No resources found\n");
  return { doomed, hasFailed: failures.length > 0 };
}

/** Returns how many were not there. */
async function removeAll(
  doomed: readonly Doomed[],
  config: Config,
  isDryRun: boolean,
  isMissingFine: boolean,
  world: World,
): Promise<number> {
  const waiting = [...doomed];
  let missing = 0;
  try {
    for await (const wasThere of removals(doomed, config, isDryRun, world)) {
      const { kind, ref } = waiting.shift() as Doomed;
      if (wasThere) world.out.write(`${singularName(kind)} "${ref.name}" deleted${isDryRun ? " (dry run)" : ""}\n`);
      else {
        missing++;
        if (!isMissingFine)
          world.err.write(`Error from server (NotFound): ${resourceName(kind)} "${ref.name}" not found\n`);
      }
    }
  } catch (cause) {
    const [at] = waiting;
    if (cause instanceof Failure || at === undefined) throw cause;
    throw new Failure(
      `remove ${singularName(at.kind)}/${at.ref.name} from ${config.store}: ${errnoOf(cause)}; run as root, or give --store`,
      { cause },
    );
  }
  return missing;
}

/** Whether each was there. */
async function* removals(
  doomed: readonly Doomed[],
  config: Config,
  isDryRun: boolean,
  world: World,
): AsyncGenerator<boolean> {
  if (config.cluster !== undefined) {
    await using cluster = await openCluster(config.cluster, world);
    for (const { kind, ref } of doomed) yield await cluster.remove(kind, ref, isDryRun);
    return;
  }
  const store = openStore(config, world);
  if (isDryRun) {
    for (const { ref } of doomed) yield (await store.read(ref)) !== undefined;
    return;
  }
  const { wereThere, error } = await store.removeAll(doomed.map(({ ref }) => ref));
  yield* wereThere;
  if (error !== undefined) throw error;
}

/** Without an agent there is nothing to wait for, and a cluster's nodes tell their own in the status. */
async function awaitKernel(config: Config): Promise<void> {
  if (config.cluster !== undefined) return;
  try {
    await syncAgent(config.agentSocket);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
}
