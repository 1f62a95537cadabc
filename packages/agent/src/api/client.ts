import { request } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { KernelError } from "@bpfleet/base";
import type { EditRequest } from "../agent.ts";
import type { PolicyState } from "../policy/policy-state.ts";
import type { EditAdvice } from "../policy/smallest-edit.ts";
import type { NodeReport } from "../report.ts";
import { parseReport } from "./report-json.ts";

/** What the agent behind this socket reports now. Throws KernelError `unreachable` when nobody answers. */
export function fetchReport(socket: string, signal?: AbortSignal): Promise<NodeReport> {
  return ask(socket, "GET", "/v1/report", parseReport, { signal });
}

/** Lets the agent read the store now, and waits until the kernel was brought to it as far as it goes. */
export function syncAgent(socket: string, signal?: AbortSignal): Promise<NodeReport> {
  return ask(socket, "POST", "/v1/sync", parseReport, { signal });
}

/** What is planned of policies, and who has which address. */
export function fetchPolicyState(socket: string): Promise<PolicyState> {
  return ask(socket, "GET", "/v1/policy", (body) => JSON.parse(body) as PolicyState);
}

/** What would let this frame through, which a pod's interface drops. */
export function fetchEditAdvice(socket: string, { frame, ...request }: EditRequest): Promise<EditAdvice> {
  const body = JSON.stringify({ ...request, frame: Buffer.from(frame).toString("base64") });
  return ask(socket, "POST", "/v1/edit", (answer) => JSON.parse(answer) as EditAdvice, { body });
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

async function ask<T>(
  socket: string,
  method: string,
  path: string,
  parse: (body: string) => T,
  { signal, body }: { readonly signal?: AbortSignal | undefined; readonly body?: string | undefined } = {},
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const call = request(
    { socketPath: socket, method, path, ...(signal === undefined ? {} : { signal }) },
    (response) => {
      text(response)
        .then((answer) => {
          if (response.statusCode !== 200) throw new Error(answer.trim());
          resolve(parse(answer));
        })
        .catch(reject);
    },
  );
  call.on("error", (cause: NodeJS.ErrnoException) =>
    reject(cause.name === "AbortError" ? cause : unreachable(socket, cause)),
  );
  call.end(body);
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
