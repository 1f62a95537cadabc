import { errorText } from "@bpfleet/base";
import { kinds } from "@bpfleet/kinds";
import { connectKube, loadAccess } from "@bpfleet/kube-client";
import { startOperator, type LogLine } from "@bpfleet/operator";
import { logLevels, parseConfig } from "./config.ts";

const config = parseConfig(process.env);
if (!config.ok) {
  for (const { message } of config.issues) console.error(`error: ${message}`);
  process.exit(2);
}
const { election, images, metrics, webhook, logLevel } = config.value;

function log({ level, message, fields }: LogLine): void {
  if (logLevels.indexOf(level) < logLevels.indexOf(logLevel)) return;
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`);
}

// Asked before anything is started: whoever ends us then is obeyed too.
const { promise: ended, resolve } = Promise.withResolvers<string>();
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => resolve(signal));
try {
  await using client = connectKube(loadAccess({ env: process.env }));
  await using operator = await startOperator({ client, kinds, images, election, metrics, webhook, log });
  log({
    level: "info",
    message: `serving${operator.metricsPort === undefined ? "" : ` metrics on port ${operator.metricsPort}`}`,
  });
  log({ level: "info", message: `${await ended}: giving the lease back` });
} catch (error) {
  log({ level: "error", message: errorText(error) });
  process.exitCode = 1;
}
