import { basename } from "node:path";
import { runCli } from "./cli.ts";
import { wordsFor } from "./other-names.ts";
import { processWorld } from "./world.ts";

const [, path = "", ...words] = process.argv;
process.exitCode = await runCli(wordsFor(basename(path), words), processWorld(process.env));
