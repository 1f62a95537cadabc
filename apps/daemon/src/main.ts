import { errorText, usePlainHeaders } from "@bpfleet/base";
import { startDaemon } from "@bpfleet/daemon";
import { readXdpModes } from "./bpfd-config.ts";
import { helpText, parseDaemonRun } from "./options.ts";

const run = parseDaemonRun(process.argv.slice(2), process.env);
if (run.is === "help") process.stdout.write(helpText);
else if (run.is === "mistakes") {
  for (const mistake of run.mistakes) process.stderr.write(`error: ${mistake}\n`);
  process.exitCode = 2;
} else {
  usePlainHeaders();
  // Asked before anything is started: whoever ends us then is obeyed too.
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  try {
    const onNotice = (notice: string): void => void process.stderr.write(`warning: ${notice}\n`);
    const xdpModes = await readXdpModes(run.bpfdConfig, onNotice);
    await using _daemon = await startDaemon({ ...run.options, xdpModes, flowLogFd: 1 });
    await ended;
  } catch (error) {
    process.stderr.write(`error: ${errorText(error)}\n`);
    process.exitCode = 1;
  }
}
