import type { Command, OptionValues } from "@commander-js/extra-typings";
import { collect } from "./collect.ts";

/** What `fileOptions` reads. */
export interface FileFlags {
  readonly filename: readonly string[];
  readonly recursive?: true | undefined;
}

/** `-f` and `-R`: the files that a command reads objects from. */
export function fileOptions<Args extends unknown[], Flags extends OptionValues, Globals extends OptionValues>(
  command: Command<Args, Flags, Globals>,
) {
  return command
    .option(
      "-f, --filename <file>",
      "file or folder, or - for standard input; several times",
      collect,
      [] as readonly string[],
    )
    .option("-R, --recursive", "folders with everything below them");
}
