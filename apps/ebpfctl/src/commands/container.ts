import { lstatSync, readdirSync, readlinkSync, type Stats } from "node:fs";
import { join } from "node:path";
import { Failure } from "../failure.ts";
import type { DefineCommand } from "./mod.ts";

/** The image has no shell and no tools: these do what is asked inside a container. */
export const defineLs: DefineCommand = (program, world) => {
  program
    .command("ls", { hidden: true })
    .description("List files.")
    .argument("[path...]")
    .option("-l", "with mode, size and time")
    .option("-a", "also those that begin with a dot")
    .option("-1", "one a line, as always")
    .action((given, { l: isLong, a: hasHidden }) => {
      const paths = given.length === 0 ? [world.cwd] : given;
      for (const path of paths) {
        const stats = look(path);
        const names = stats.isDirectory()
          ? readdirSync(path)
              .filter((name) => hasHidden === true || !name.startsWith("."))
              .toSorted()
          : [path];
        if (paths.length > 1 && stats.isDirectory()) world.out.write(`${path}:\n`);
        const lineOf = (name: string): string => {
          const at = stats.isDirectory() ? join(path, name) : name;
          return isLong === true ? longLine(at, name) : name;
        };
        for (const name of names) world.out.write(`${lineOf(name)}\n`);
      }
    });
};

export const defineWget: DefineCommand = (program, world) => {
  program
    .command("wget", { hidden: true })
    .description("Print what a URL answers.")
    .argument("<url>")
    .option("-q", "say nothing else, as always")
    .option("-O <file>", "only - can be given: nothing can be written here", "-")
    .action(async (given, { O: file }) => {
      if (file !== "-") throw new Failure(`write ${file}: this prints only; give -O -`);
      const url = /^[a-z]+:\/\//.test(given) ? given : `http://${given}`;
      const answer = await fetch(url).catch((cause: unknown) => {
        const { code, message } = ((cause as Error).cause ?? cause) as NodeJS.ErrnoException;
        throw new Failure(`get ${url}: ${code ?? message}`, { cause });
      });
      const text = await answer.text();
      if (!answer.ok) throw new Failure(`get ${url}: answered with ${answer.status} ${text.trim()}`, { exitCode: 8 });
      world.out.write(text.endsWith("\n") ? text : `${text}\n`);
    });
};

export const defineSleep: DefineCommand = (program, world) => {
  program
    .command("sleep", { hidden: true })
    .description("Do nothing until SIGTERM.")
    .action(async () => {
      const interrupt = world.onInterrupt();
      const awake = setInterval(() => undefined, 1 << 30);
      await new Promise((resolve) => interrupt.addEventListener("abort", resolve, { once: true }));
      clearInterval(awake);
    });
};

function look(path: string): Stats {
  try {
    return lstatSync(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    throw new Failure(`list ${path}: there is no such file (ENOENT)`, { exitCode: 2, cause });
  }
}

function longLine(path: string, name: string): string {
  const stats = lstatSync(path);
  const kind = stats.isDirectory() ? "d" : stats.isSymbolicLink() ? "l" : stats.isSocket() ? "s" : "-";
  const mode = Array.from("rwxrwxrwx", (letter, at) => (((stats.mode >> (8 - at)) & 1) === 1 ? letter : "-")).join("");
  const time = stats.mtime.toISOString().slice(0, 16).replace("T", " ");
  const target = stats.isSymbolicLink() ? ` -> ${readlinkSync(path)}` : "";
  return `${kind}${mode} ${String(stats.uid).padStart(5)} ${String(stats.size).padStart(9)} ${time} ${name}${target}`;
}
