import { enableCompileCache } from "node:module";
import { join } from "node:path";

// In the checkout, not in the world-writable default: what lies there is run as root.
enableCompileCache(join(import.meta.dirname, "../../../build/compile-cache"));

const { processWorld } = await import("./world.ts");
const { runCli } = await import("./cli.ts");
process.exitCode = await runCli(process.argv.slice(2), processWorld(process.env));
