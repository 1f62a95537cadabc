import type { Agent } from "@bpfleet/agent";
import { errorText } from "@bpfleet/base";
import type { Daemon } from "@bpfleet/daemon";
import { ProgramFiles, programsFolder, type ProgramFilesAccess } from "./program-files.ts";

/** Results come one by one while a plan is applied. */
const gatherMs = 50;

export interface TellOptions {
  readonly agent: Pick<Agent, "report">;
  readonly daemon: Pick<Daemon, "onChange" | "onFacts">;
  /** Socket of the daemon; `programs` lies beside it. */
  readonly socket: string;
  readonly access: ProgramFilesAccess;
  readonly onTrouble: (message: string) => void;
}

/** Keeps the files that tell of this node's programs as they are; see ProgramFiles. */
export function tellPrograms({ agent, daemon, socket, access, onTrouble }: TellOptions): AsyncDisposable {
  const directory = programsFolder(socket);
  const files = new ProgramFiles(directory, access);
  let timer: NodeJS.Timeout | undefined;
  let telling = Promise.resolve();
  let isClosed = false;
  const tell = async (): Promise<void> => {
    try {
      const report = await agent.report();
      if (!isClosed) files.update(report);
    } catch (error) {
      onTrouble(`write below ${directory}: ${errorText(error)}`);
    }
  };
  const tellSoon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      telling = telling.then(tell);
    }, gatherMs);
  };
  const stops = [daemon.onChange(tellSoon), daemon.onFacts(tellSoon)];
  tellSoon();
  return {
    async [Symbol.asyncDispose]() {
      for (const stop of stops) stop();
      clearTimeout(timer);
      isClosed = true;
      await telling;
    },
  };
}
