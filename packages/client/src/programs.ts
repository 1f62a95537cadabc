import { stat } from "node:fs/promises";
import { hostname } from "node:os";
import { clusterSource, inClusterAccess } from "./cluster-source.ts";
import { directorySource } from "./directory-source.ts";
import type { NodeProgram } from "./node-program.ts";
import { SourceError, type ProgramKind, type ProgramSource } from "./program-source.ts";

export interface ProgramOptions {
  /** Name of the node; usually the environment's NODENAME, else the host's name. */
  readonly node?: string | undefined;
  readonly kind?: ProgramKind | undefined;
  /** Usually the API server in a pod, else the files of `ebpfctl up`. */
  readonly source?: ProgramSource | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** In a pod the API server; else the directory BPFLEET_PROGRAMS, usually /run/bpfd/programs. */
export function usualSource(env: NodeJS.ProcessEnv = process.env): ProgramSource {
  const access = inClusterAccess(env);
  return access === undefined ? directorySource(env["BPFLEET_PROGRAMS"]) : clusterSource(access);
}

/** What a config became on this node; `undefined` when nothing is known of it. */
export async function findProgram(config: string, options: ProgramOptions = {}): Promise<NodeProgram | undefined> {
  const { kind = "BpfProgram", source = usualSource(), signal } = options;
  return source.read(kind, nameOf(config, options), signal);
}

/** Waits until it is loaded. Throws what the signal says when that ends before. */
export async function loadedProgram(config: string, options: ProgramOptions = {}): Promise<NodeProgram> {
  for await (const program of watchProgram(config, options)) if (program?.isLoaded === true) return program;
  options.signal?.throwIfAborted();
  throw new SourceError(`wait for ${config}: the watch ended`);
}

/**
 * What a config is on this node now, and again after every change: of the program, of the paths of its maps, and of the
 * maps that are pinned there. Open maps anew then: an upgrade may have put others in their place. Ends with the signal.
 */
export async function* watchProgram(
  config: string,
  options: ProgramOptions = {},
): AsyncGenerator<NodeProgram | undefined, void, void> {
  const { kind = "BpfProgram", source = usualSource() } = options;
  const signal = options.signal ?? new AbortController().signal;
  const name = nameOf(config, options);
  let told: string | undefined;
  while (!signal.aborted) {
    const program = await source.read(kind, name, signal);
    const state = JSON.stringify([program ?? null, await pinsOf(program)]);
    if (state !== told) yield program;
    told = state;
    await source.changed(kind, name, signal);
  }
}

/** Path of a map of the program, where it has one place or all its places share the map. */
export function mapPath(program: NodeProgram, map: string): string {
  const paths = new Set(program.instances.flatMap(({ maps }) => maps[map] ?? []));
  const [path, ...others] = paths;
  if (path === undefined) {
    const there = [...new Set(program.instances.flatMap(({ maps }) => Object.keys(maps)))].join(", ");
    throw new RangeError(`find map ${map} of ${program.name}: it has ${there || "no maps"}`);
  }
  if (others.length > 0)
    throw new RangeError(`find map ${map} of ${program.name}: it has ${paths.size}, choose one of its instances`);
  return path;
}

function nameOf(config: string, { node }: ProgramOptions): string {
  const own = node ?? (process.env["NODENAME"] || hostname());
  // As the agent makes a name of it that an object can have.
  const fit = own.toLowerCase().replaceAll(/[^a-z0-9.-]/g, "-");
  return `${config}-${fit.replaceAll(/^[-.]+|[-.]+$/g, "")}`;
}

/** Which map is pinned at each path: another one has another inode. */
async function pinsOf(program: NodeProgram | undefined): Promise<readonly string[]> {
  const paths = (program?.instances ?? []).flatMap(({ maps }) => Object.values(maps));
  return Promise.all(
    paths.map((path) =>
      stat(path)
        .then(({ ino }) => String(ino))
        .catch(() => ""),
    ),
  );
}
