import type { Command } from "@commander-js/extra-typings";
import { findKindByName, kinds } from "@bpfleet/kinds";
import { programFor } from "../cli.ts";
import { parseConfig } from "../config.ts";
import { readNode } from "../resources/load-node.ts";
import type { World } from "../world.ts";
import type { DefineCommand } from "./mod.ts";

/** A candidate and, after a tab, what it is. */
type Candidate = readonly [word: string, meaning: string];

export const defineComplete: DefineCommand = (program, world) => {
  program
    .command("__complete", { hidden: true })
    .description("What may follow: the words of a command line, the last one being written.")
    .argument("[words...]")
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words) => {
      const last = words.at(-1) ?? "";
      const found = await candidates(await programFor(words, world), words.slice(0, -1), last, world);
      for (const [word, meaning] of found)
        if (word.startsWith(last)) world.out.write(meaning === "" ? `${word}\n` : `${word}\t${meaning}\n`);
    });
};

async function candidates(
  program: Command,
  before: readonly string[],
  last: string,
  world: World,
): Promise<readonly Candidate[]> {
  const { command, operands, openFlag } = follow(program, before);
  if (openFlag !== undefined) return valuesOf(openFlag, world);
  if (last.startsWith("-")) return flagsOf(program, command);
  const children = command.commands.filter((child) => !child.name().startsWith("_"));
  if (children.length > 0 && operands.length === 0)
    return children.map((child) => [child.name(), child.summary() || child.description()]);
  if (takesResources(command)) return resourceCandidates(operands, last, before, world);
  if (command.name() === "completion")
    return [
      ["bash", ""],
      ["zsh", ""],
      ["fish", ""],
    ];
  return [];
}

interface Place {
  readonly command: Command;
  readonly operands: readonly string[];
  /** A flag whose value comes next. */
  readonly openFlag: string | undefined;
}

function follow(program: Command, words: readonly string[]): Place {
  let command = program;
  const operands: string[] = [];
  let openFlag: string | undefined;
  for (const word of words) {
    if (openFlag !== undefined) openFlag = undefined;
    else if (word.startsWith("-")) openFlag = takesValue(program, command, word) ? word : undefined;
    else {
      const child =
        operands.length === 0
          ? command.commands.find((each) => each.name() === word || each.aliases().includes(word))
          : undefined;
      if (child === undefined) operands.push(word);
      else command = child as Command;
    }
  }
  return { command, operands, openFlag };
}

function takesValue(program: Command, command: Command, word: string): boolean {
  if (word.includes("=")) return false;
  const option = [...program.options, ...command.options].find(({ short, long }) => word === short || word === long);
  return option?.required === true;
}

function flagsOf(program: Command, command: Command): readonly Candidate[] {
  const options = command === program ? program.options : [...command.options, ...program.options];
  return options
    .filter((option) => !option.hidden)
    .map((option) => [option.long ?? option.short ?? "", option.description]);
}

function takesResources(command: Command): boolean {
  return command.registeredArguments.some((argument) => argument.name() === "resource");
}

async function resourceCandidates(
  operands: readonly string[],
  last: string,
  before: readonly string[],
  world: World,
): Promise<readonly Candidate[]> {
  const [type] = operands;
  const slash = last.indexOf("/");
  if (slash !== -1) {
    const prefix = last.slice(0, slash);
    return (await namesOf(prefix, before, world)).map(([name, meaning]) => [`${prefix}/${name}`, meaning]);
  }
  if (type !== undefined) return namesOf(type, before, world);
  return kinds.map((kind) => [kind.plural, kind.description]);
}

async function namesOf(type: string, before: readonly string[], world: World): Promise<readonly Candidate[]> {
  const kind = findKindByName(type);
  if (kind === undefined) return [];
  const { objects } = await readNode(parseConfig(globalFlags(before), world), world);
  const isEverywhere = before.some((word) => word === "-A" || word === "--all-namespaces");
  const namespace = valueAfter(before, "-n", "--namespace") ?? "default";
  return objects
    .filter(
      ({ ref }) =>
        ref.group === kind.group &&
        ref.kind === kind.kind &&
        (isEverywhere || ref.namespace === "" || ref.namespace === namespace),
    )
    .map(({ ref }) => [ref.name, ""]);
}

async function valuesOf(flag: string, world: World): Promise<readonly Candidate[]> {
  if (flag === "-o" || flag === "--output") return ["json", "yaml", "name", "wide"].map((form) => [form, ""]);
  if (flag !== "-n" && flag !== "--namespace") return [];
  const { objects } = await readNode(parseConfig({}, world), world);
  return [...new Set(objects.map(({ ref }) => ref.namespace))]
    .filter((namespace) => namespace !== "")
    .map((namespace) => [namespace, ""]);
}

function globalFlags(words: readonly string[]): { store?: string | undefined; state?: string | undefined } {
  return { store: valueAfter(words, "--store"), state: valueAfter(words, "--state") };
}

function valueAfter(words: readonly string[], ...flags: readonly string[]): string | undefined {
  const at = words.findIndex((word) => flags.includes(word));
  return at === -1 ? undefined : words[at + 1];
}
