import { Command, CommanderError, Option } from "@commander-js/extra-typings";
import { commands, type CommandEntry } from "./commands/mod.ts";
import { usualPlaces, type GlobalFlags } from "./config.ts";
import { reportFailure } from "./failure.ts";
import { productVersion } from "./product.ts";
import type { World } from "./world.ts";

/** Runs one command line; the exit code is kubectl's: 0 done, 1 not, others where the command's help says so. */
export async function runCli(argv: readonly string[], world: World): Promise<number> {
  const program = await programFor(argv, world);
  if (argv.length === 0) {
    program.outputHelp();
    return 0;
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    const { verbose } = program.opts() as GlobalFlags;
    return reportFailure(error, world.err, verbose === true);
  }
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
