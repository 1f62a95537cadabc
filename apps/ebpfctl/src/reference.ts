import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { fullProgram } from "./cli.ts";
import { commands } from "./commands/mod.ts";
import { documentCommands } from "./document-commands.ts";
import { quietWorld } from "./world.ts";

/** docs/reference/commands.md: every command with all its flags, as `--help` has them. */
export async function renderReference(): Promise<string> {
  const program = await fullProgram(quietWorld());
  const hidden = new Set(commands.filter(({ isHidden }) => isHidden === true).map(({ name }) => name));
  const shown = program.commands.filter((command) => !hidden.has(command.name()));
  return [
    "# Commands of ebpfctl",
    program.description(),
    "The words, output shapes and exit codes are kubectl's wherever kubectl has the command. Exit code 0: done, 1: not; other codes stand with their command.",
    "## On every command",
    renderOptions(program),
    ...shown.flatMap((command) => renderCommand(command, [])),
    "## Commands of the documents",
    "What the documents do with other programs, on a node without a cluster:",
    renderRows(
      ["document", "here"],
      documentCommands.map(({ document, here, note }) => [
        `\`${document}\``,
        [...(here === undefined ? [] : [`\`ebpfctl ${here.join(" ")}\``]), ...(note === undefined ? [] : [note])].join(
          ": ",
        ),
      ]),
    ),
  ]
    .join("\n\n")
    .concat("\n");
}

function renderCommand(command: CommandUnknownOpts, path: readonly string[]): readonly string[] {
  const names = [...path, command.name()];
  const children = command.commands;
  const words = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? "..." : ""}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  if (children.length > 0) return children.flatMap((child) => renderCommand(child, names));
  return [
    `## ebpfctl ${names.join(" ")}`,
    command.description(),
    `    ebpfctl ${[...names, "[flags]", ...words].join(" ")}`,
    ...(command.registeredArguments.length === 0
      ? []
      : [
          command.registeredArguments.map((argument) => `- \`${argument.name()}\`: ${argument.description}`).join("\n"),
        ]),
    ...(command.options.length === 0 ? [] : [renderOptions(command)]),
  ];
}

function renderOptions({ options }: Pick<CommandUnknownOpts, "options">): string {
  const rows = options
    .filter((option) => !option.hidden)
    .map((option) => [`\`${option.flags}\``, option.description, defaultOf(option.defaultValue, option.negate)]);
  return renderRows(["flag", "meaning", "usually"], rows);
}

function defaultOf(value: unknown, isNegation: boolean): string {
  if (value === undefined || isNegation || (Array.isArray(value) && value.length === 0)) return "";
  return `\`${String(value)}\``;
}

function renderRows(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}
