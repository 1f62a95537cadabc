import { request } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { KernelError } from "@bpfleet/base";
import type { NodeReport } from "../report.ts";
import { parseReport } from "./report-json.ts";

/** What the agent behind this socket reports now. Throws KernelError `unreachable` when nobody answers. */
export function fetchReport(socket: string, signal?: AbortSignal): Promise<NodeReport> {
  return ask(socket, "GET", "/v1/report", signal);
}

/** Lets the agent read the store now, and waits until the kernel was brought to it as far as it goes. */
export function syncAgent(socket: string, signal?: AbortSignal): Promise<NodeReport> {
  return ask(socket, "POST", "/v1/sync", signal);
}

/** Whether anybody listens there, as far as one may know. */
export async function answers(socket: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const connection = connect(socket, () => resolve(true));
  connection.on("error", (error) => resolve("code" in error && error.code === "EACCES"));
  const isThere = await promise;
  connection.destroy();
  return isThere;
}

async function ask(socket: string, method: string, path: string, signal: AbortSignal | undefined): Promise<NodeReport> {
  const { promise, resolve, reject } = Promise.withResolvers<NodeReport>();
  const call = request(
    { socketPath: socket, method, path, ...(signal === undefined ? {} : { signal }) },
    (response) => {
      text(response)
        .then((body) => {
          if (response.statusCode !== 200) throw new Error(body.trim());
          resolve(parseReport(body));
        })
        .catch(reject);
    },
  );
  call.on("error", (cause: NodeJS.ErrnoException) =>
    reject(cause.name === "AbortError" ? cause : unreachable(socket, cause)),
  );
  call.end();
  return promise;
}

function unreachable(socket: string, cause: NodeJS.ErrnoException): KernelError {
  const isRefused = cause.code === "EACCES" || cause.code === "EPERM";
  return new KernelError(
    isRefused
      ? `ask the agent at ${socket}: not permitted (${cause.code}); run as root`
      : `ask the agent at ${socket}: nobody answers (${cause.code ?? cause.message}); start it with: ebpfctl up`,
    { code: isRefused ? "no-permission" : "unreachable", call: "connect", errno: cause.code, retry: "backoff", cause },
  );
}
