import { Command, CommanderError, Option, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { knowsCluster, nodeCommand, withoutPlace } from "./cluster/cluster-place.ts";
import { commands, type CommandEntry } from "./commands/mod.ts";
import { usualPlaces, type GlobalFlags } from "./config.ts";
import { Failure, isUnreachable, reportFailure } from "./failure.ts";
import { productVersion } from "./product.ts";
import type { World } from "./world.ts";

/** Runs one command line; the exit code is kubectl's: 0 done, 1 not, others where the command's help says so. */
export async function runCli(argv: readonly string[], world: World): Promise<number> {
  const program = await programFor(argv, world);
  if (argv.length === 0) {
    program.outputHelp();
    return 0;
  }
  program.hook("preAction", (_program, action) => refuseCluster(topOf(action).name(), action.optsWithGlobals(), argv));
  try {
    await program.parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    const { verbose } = program.opts() as GlobalFlags;
    const exitCode = reportFailure(error, world.err, verbose === true);
    if (isUnreachable(error) && knowsCluster(world))
      world.err.write(`The nodes of a cluster are asked in their pods: ${nodeCommand(argv)}\n`);
    return exitCode;
  }
}

/** A cluster has objects; what is in the kernel knows the node alone. */
function refuseCluster(name: string, { kubeconfig, context }: GlobalFlags, argv: readonly string[]): void {
  if (kubeconfig === undefined && context === undefined) return;
  if (commands.find((entry) => entry.name === name || entry.aliases?.includes(name) === true)?.about !== undefined)
    return;
  throw new Failure(`${name} asks a node, not the API server; run it on the node: ${nodeCommand(withoutPlace(argv))}`);
}

function topOf(command: CommandUnknownOpts): CommandUnknownOpts {
  const { parent } = command;
  return parent === null || parent.parent === null ? command : topOf(parent);
}

/** Loads the code of what these words may mean; of the other commands there is their line in the help. */
export async function programFor(words: readonly string[], world: World): Promise<Program> {
  const program = newProgram(world);
  for (const entry of commands) {
    const isMeant = words.includes(entry.name) || entry.aliases?.some((alias) => words.includes(alias)) === true;
    if (isMeant) await addCommand(program, entry, world);
    else
      program
        .command(entry.name, { hidden: entry.isHidden === true })
        .description(entry.summary)
        .aliases([...(entry.aliases ?? [])]);
  }
  return program;
}

/** Every command with all its flags, for the reference page. */
export async function fullProgram(world: World): Promise<Program> {
  return programFor(
    commands.flatMap(({ name }) => [name]),
    world,
  );
}

function newProgram(world: World) {
  const program = new Command("ebpfctl")
    .description(
      "ebpfctl puts declared networking, security and observability into the kernel of this node, and shows what it does.",
    )
    .addOption(
      new Option("--store <directory>", `directory of the objects (env: BPFLEET_STORE, usually ${usualPlaces.store})`),
    )
    .addOption(
      new Option(
        "--state <directory>",
        `directory of what must survive (env: BPFLEET_STATE, usually ${usualPlaces.state})`,
      ),
    )
    .addOption(
      new Option(
        "--socket <path>",
        `socket of the daemon (env: BPFLEET_SOCKET, usually ${usualPlaces.socket}); that of the agent lies beside it (env: BPFLEET_AGENT_SOCKET)`,
      ),
    )
    .addOption(
      new Option("--bpffs <directory>", `file system of the pins (env: BPFLEET_BPFFS, usually ${usualPlaces.bpffs})`),
    )
    .addOption(
      new Option(
        "--kubeconfig <file>",
        "the objects of the cluster that this file names, for apply, get, describe, delete and lint",
      ),
    )
    .addOption(
      new Option("--context <name>", "the same of a context of the kubeconfig that kubectl uses, or of that file"),
    )
    .option("-v, --verbose", "say everything that the kernel and the libraries said")
    .version(productVersion, "--version", "print the version of ebpfctl")
    .helpCommand("help [command]", "say what a command does")
    .showHelpAfterError("See 'ebpfctl --help' for what there is.")
    .configureHelp({ sortSubcommands: false, subcommandTerm: (command) => command.name() })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => world.out.write(text),
      writeErr: (text) => world.err.write(text),
      getOutHasColors: () => world.out.hasColor,
      getErrHasColors: () => world.err.hasColor,
    });
  return program;
}

export type Program = ReturnType<typeof newProgram>;

async function addCommand(program: Program, entry: CommandEntry, world: World): Promise<void> {
  const define = await entry.load();
  define(program, world);
}
