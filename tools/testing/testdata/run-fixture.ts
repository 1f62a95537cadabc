import { runFile } from "../run-file.ts";

const [file = "", timeoutMs = ""] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await runFile(import.meta.dirname, file, Number(timeoutMs))));
