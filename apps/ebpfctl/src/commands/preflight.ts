import type { Dirent } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { renderTable } from "@bpfleet/base";
import type { CheckedProgram, PreflightReport } from "@bpfleet/daemon";
import { Failure, SilentFailure } from "../failure.ts";
import { parseForm } from "../output/parse-form.ts";
import type { World } from "../world.ts";
import { collect } from "./collect.ts";
import { authFlag, mirrorsFlag, platformFlag, policyFlag, readAccess, readPolicy } from "./image-access.ts";
import type { DefineCommand } from "./mod.ts";

/** So that scripts can ask. */
const exitRefused = 3;

export const definePreflight: DefineCommand = (program, world) => {
  program
    .command("preflight")
    .summary("say whether an object or image loads on this node, and why not")
    .description(
      "Load every program of an object for a moment, attach nothing, and say what the kernel says; a refusal of the verifier is explained. The features that the object asks for are listed with the oldest Linux that has them. Needs root. Exit code 0: everything loads, 3: something does not, 1: it cannot be told.",
    )
    .argument("<object>", "a file, one that `ebpfctl image build` wrote, or an image as host/repository:tag")
    .option("--program <name>", "only this program, by its function or section")
    .option(
      "--kernel-btf <file>",
      "BTF of another kernel to check relocations against, or a directory of such files; several times",
      collect,
      [] as readonly string[],
    )
    .option("-o, --output <form>", "json")
    .addOption(authFlag)
    .addOption(mirrorsFlag)
    .addOption(policyFlag)
    .addOption(platformFlag)
    .action(async (name, flags, command) => {
      parseForm(flags.output, "json");
      const isImageFile = name.endsWith(".tar");
      const elf = isImageFile
        ? await readImageFile(resolve(world.cwd, name), flags.platform)
        : ((await readLocal(name, world)) ?? (await fetchImage(name, flags, world)));
      const { preflight } = await import("@bpfleet/daemon");
      const kernelBtfs = (await Promise.all(flags.kernelBtf.map((path) => listBtf(resolve(world.cwd, path))))).flat();
      const report = await preflight(elf, { name: basename(name), program: flags.program, kernelBtfs });
      if (report.trouble !== undefined && flags.output === undefined)
        throw new Failure(`read ${name}: ${printable(report.trouble)}`);
      const { verbose } = command.optsWithGlobals() as { readonly verbose?: true };
      world.out.write(
        flags.output === "json"
          ? `${JSON.stringify(report, undefined, 2)}\n`
          : renderReport(name, report, verbose === true),
      );
      if (!report.loads) throw new SilentFailure(exitRefused);
    });
};

/** The file, or those of the directory by name: `5.10.btf`, `ubuntu/vmlinux-5.15`. */
async function listBtf(path: string): Promise<readonly string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(path, { withFileTypes: true, recursive: true });
  } catch (cause) {
    // What cannot be read is told beside what can.
    if (["ENOTDIR", "ENOENT"].includes((cause as NodeJS.ErrnoException).code ?? "")) return [path];
    throw new Failure(`read ${path}: ${(cause as Error).message}`, { cause });
  }
  const files = entries.filter((entry) => entry.isFile() && !entry.name.startsWith("."));
  if (files.length === 0) throw new Failure(`read ${path}: there are no files with BTF in it`);
  return files.map(({ parentPath, name }) => join(parentPath, name)).toSorted();
}

/** `undefined` when there is no such file: then it is an image. */
async function readLocal(name: string, world: World): Promise<Uint8Array | undefined> {
  try {
    return await readFile(resolve(world.cwd, name));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const isImage = /^[^/]+[.:][^/]*\/[^/]/.test(name) && !/\.b?p?f?\.?o$/.test(name);
    if ((code === "ENOENT" || code === "ENOTDIR") && isImage) return undefined;
    throw new Failure(
      `read object ${name}: ${code ?? String(cause)}; give a file, or an image as host/repository:tag`,
      {
        cause,
      },
    );
  }
}

async function readImageFile(path: string, platform: string | undefined): Promise<Uint8Array> {
  const { isIndex, ownPlatform, parseManifest, readBytecode, readLayout } = await import("@bpfleet/oci");
  const built = await readLayout(path, platform ?? ownPlatform);
  const manifest = parseManifest(built.manifest, path);
  if (isIndex(manifest)) throw new TypeError("readLayout returns an image");
  return readBytecode({ ...built, manifest }, path).object;
}

type AccessFlags = Parameters<typeof readAccess>[0] & { readonly policy?: string; readonly platform?: string };

async function fetchImage(reference: string, flags: AccessFlags, world: World): Promise<Uint8Array> {
  const { ContentStore, fetchBytecode, ownPlatform } = await import("@bpfleet/oci");
  const directory = await mkdtemp(join(tmpdir(), "ebpfctl-image-"));
  try {
    const { bytes } = await fetchBytecode({
      reference,
      pullPolicy: "Always",
      policy: await readPolicy(flags.policy, world),
      store: new ContentStore(directory),
      platform: flags.platform ?? ownPlatform,
      ...(await readAccess(flags, world)),
    });
    return bytes;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function renderReport(name: string, report: PreflightReport, isVerbose: boolean): string {
  const { programs, features, kernels, license, since } = report;
  const parts = [
    `${report.loads ? "yes" : "no"}: ${name} ${report.loads ? "loads" : "does not load"} on this kernel\n`,
    ...programs.map((program) => renderProgram(program, isVerbose)),
    `\nlicense: ${printable(license) || "none"}; needs Linux ${since ?? "<unknown>"} or newer\n`,
    renderTable(
      ["FEATURE", "NAME", "SINCE", "USED-BY"],
      features.map(({ kind, name: each, since: age, usedBy }) => [
        kind,
        printable(each),
        age ?? "<unknown>",
        printable(usedBy.join(",")),
      ]),
    ),
    ...kernels.flatMap(({ file, programs: checked }) => [
      `\nagainst ${file}\n`,
      ...checked.map(({ name: each, missing, why }) => {
        if (why !== undefined) return `  no   ${printable(each)}: ${printable(why)}\n`;
        if (missing === 0) return `  yes  ${printable(each)}: every relocation is found\n`;
        return `  ?    ${printable(each)}: ${missing} instructions are for what that kernel does not have; it loads if the program asks before (bpf_core_field_exists)\n`;
      }),
    ]),
  ];
  return parts.join("");
}

function renderProgram({ name, section, type, loads, why, refusal, log }: CheckedProgram, isVerbose: boolean): string {
  const head = `  ${loads ? "yes" : "no "}  ${printable(name)} (${type}, section ${printable(section)})`;
  if (loads) return `${head}\n`;
  if (refusal === undefined) return `${head}\n       ${printable(why ?? "")}\n`;
  const { telling, instruction, source, cause, help } = refusal;
  const lines = [
    ["verifier", telling],
    ["instruction", instruction],
    ["source", source],
    ["cause", cause],
    ["help", help],
    ...(isVerbose ? (log ?? "").split("\n").map((line) => ["log", line] as const) : []),
  ].flatMap(([what, text]) => (text === undefined ? [] : [`       ${what}: ${printable(text)}\n`]));
  return `${head}\n${lines.join("")}`;
}

/** What somebody wrote into an object must not steer the terminal. */
function printable(text: string): string {
  return text.replaceAll(/\p{Control}/gu, "?");
}
