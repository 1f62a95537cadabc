/** One thing that a process can be told, as a flag or in its environment; the flag comes first. */
export interface OptionRow {
  /** Without dashes: `node-name`. */
  readonly flag: string;
  /** Variables, the first that is set and not empty; none for what only a flag says. */
  readonly env: readonly string[];
  /** What the value is called in the help; absent: the flag alone says `true`. */
  readonly value?: string | undefined;
  /** What it is when nobody says. */
  readonly usual?: string | undefined;
  /** One sentence without a full stop. */
  readonly help: string;
}

export interface OptionReading<Flag extends string> {
  readonly values: Readonly<Partial<Record<Flag, string>>>;
  /** All at once, each with what helps. */
  readonly mistakes: readonly string[];
  readonly asksHelp: boolean;
}

/** Reads `--flag value`, `--flag=value` and the environment by one table. */
export function readOptions<Flag extends string>(
  table: readonly (OptionRow & { readonly flag: Flag })[],
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): OptionReading<Flag> {
  const values: Partial<Record<Flag, string>> = {};
  const mistakes: string[] = [];
  for (const { flag, env: names, usual } of table) {
    const told = names.map((name) => env[name]).find((text) => text !== undefined && text !== "") ?? usual;
    if (told !== undefined) values[flag] = told;
  }
  const words = [...argv];
  let asksHelp = false;
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === "--help" || word === "-h") {
      asksHelp = true;
      continue;
    }
    const [, name = "", given] = /^--([a-z0-9-]+)(?:=(.*))?$/s.exec(word) ?? [];
    const row = table.find(({ flag }) => flag === name);
    if (row === undefined) {
      mistakes.push(`read ${JSON.stringify(word)}: there is no such flag; --help lists what there is`);
      continue;
    }
    const value = row.value === undefined ? (given ?? "true") : (given ?? words.shift());
    if (value === undefined) mistakes.push(`read --${name}: it needs a value; give --${name} <${row.value}>`);
    else values[row.flag] = value;
  }
  return { values, mistakes, asksHelp };
}

/** Two columns: flag, and what it means, with its variable and usual value. */
export function renderOptions(table: readonly OptionRow[]): string {
  const heads = table.map(({ flag, value }) => `  --${flag}${value === undefined ? "" : ` <${value}>`}`);
  const width = Math.max(...heads.map((head) => head.length));
  return table
    .map(({ help, env, usual }, at) => {
      const more = [
        ...(env.length === 0 ? [] : [`env: ${env.join(", ")}`]),
        ...(usual === undefined ? [] : [`usually ${usual}`]),
      ];
      return `${heads[at]?.padEnd(width)}  ${help}${more.length === 0 ? "" : ` (${more.join("; ")})`}`;
    })
    .join("\n");
}
