import { helpText, parseAgentRun } from "./options.ts";

const run = parseAgentRun(process.argv.slice(2), process.env);
if (run.is === "help") process.stdout.write(helpText);
else if (run.is === "mistakes") {
  for (const mistake of run.mistakes) process.stderr.write(`error: ${mistake}\n`);
  process.exitCode = 2;
} else {
  const { runAgent } = await import("./run-agent.ts");
  process.exitCode = await runAgent(run.config, process.env);
}
