import { acceptObject, isAccepted, type StoredObject } from "@bpfleet/agent";
import { refKey, renderRef } from "@bpfleet/base";
import {
  apiVersionOf,
  findFootGuns,
  kinds,
  lintViewOf,
  nameAffected,
  pointerAtStart,
  type Kind,
  type KubeObject,
  type Parsed,
} from "@bpfleet/kinds";
import { parseConfig, type Config } from "../config.ts";
import { Failure, SilentFailure } from "../failure.ts";
import { admitObjects } from "../manifests/admit-objects.ts";
import { readInputs } from "../manifests/read-inputs.ts";
import { countMistakes, renderIssues } from "../manifests/render-issues.ts";
import { openStore } from "../resources/load-node.ts";
import { openCluster } from "../resources/load-objects.ts";
import type { World } from "../world.ts";
import { fileOptions, type FileFlags } from "./file-options.ts";
import type { DefineCommand } from "./mod.ts";

/** So that scripts can tell what is wrong from what is likely not meant. */
const exitWarned = 3;

interface LintFlags extends FileFlags {
  readonly namespace?: string | undefined;
}

export const defineLint: DefineCommand = (program, world) => {
  fileOptions(
    program
      .command("lint")
      .summary("say what is wrong with objects, or most likely not meant")
      .description(
        "Say what is wrong with the objects in these files, and what is allowed and most likely not meant: selectors that find nobody, addresses that lock out a node, pods that can ask for no names. Pods, nodes and namespaces are those of the files and of the store, or of the cluster. Nothing is changed. Exit code 0: nothing to say, 3: warnings, 1: mistakes.",
      ),
  )
    .option("-n, --namespace <name>", "namespace of objects that name none")
    .action(async (flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      if ((await lint(flags, config, world)) > 0) throw new SilentFailure(exitWarned);
    });
};

/** How many warnings there are. */
async function lint(flags: LintFlags, config: Config, world: World): Promise<number> {
  const usual = await usualNamespace(config, world);
  const { objects, issues } = admitObjects(await readInputs(flags, world), kinds, flags.namespace, usual);
  const parsed = objects.map((each) => each.parsed);
  const view = lintViewOf([...(await storedBeside(parsed, config, world)), ...parsed]);
  const named = new Map(
    objects.flatMap((each) => {
      const texts = nameAffected(each.said, each.parsed, view);
      return each.said.map((issue, index) => [issue, texts[index] ?? issue] as const);
    }),
  );
  world.out.write(renderIssues(issues.map((issue) => named.get(issue) ?? issue)));
  const told = parsed.flatMap((each) =>
    findFootGuns(each, view).map((text) => `${placeOf(each, text)}: warning: ${renderRef(each.ref)}: ${text}\n`),
  );
  world.out.write(told.join(""));
  if (issues.some(({ severity }) => severity === "error")) throw new Failure(countMistakes(issues));
  return issues.length + told.length;
}

async function usualNamespace({ cluster }: Config, world: World): Promise<string | undefined> {
  if (cluster === undefined) return undefined;
  await using opened = await openCluster(cluster, world);
  return opened.namespace;
}

/** What is there and not among these. */
async function storedBeside(parsed: readonly Parsed[], config: Config, world: World): Promise<readonly Parsed[]> {
  const asked = new Set(parsed.map(({ ref }) => refKey(ref)));
  const stored = (await storedObjects(config, world)).map((object) => acceptObject(object, kinds));
  return stored.filter(isAccepted).flatMap((each) => (asked.has(refKey(each.parsed.ref)) ? [] : [each.parsed]));
}

/** Nothing where there is no store to read; of a cluster what it lets us see. */
async function storedObjects(config: Config, world: World): Promise<readonly StoredObject[]> {
  if (config.cluster !== undefined) {
    await using cluster = await openCluster(config.cluster, world);
    const all = await Promise.all(
      kinds
        .filter(({ kind, madeFrom }) => kind !== "Secret" && madeFrom === undefined)
        .map(async (kind) => (await cluster.all(kind)).map((object) => storedOf(kind, object))),
    );
    return all.flat();
  }
  const store = openStore(config, world);
  try {
    await store.refresh();
  } catch {
    return [];
  }
  return store.snapshot().objects;
}

function storedOf(kind: Kind, object: Readonly<Record<string, unknown>>): StoredObject {
  const typed = { ...object, apiVersion: apiVersionOf(kind), kind: kind.kind } as KubeObject;
  const { namespace = "", name } = typed.metadata;
  const path = `${kind.plural}/${name}`;
  return {
    ref: { group: kind.group, kind: kind.kind, namespace, name },
    path,
    object: typed,
    text: "",
    source: { file: path, line: 1, isRendered: true },
    positionOf: () => undefined,
    spec: "",
  };
}

/** Of the field with which the text begins. */
function placeOf({ positionOf, ref }: Parsed, text: string): string {
  const position = positionOf(pointerAtStart(text));
  return position === undefined ? ref.name : `${position.file}:${position.line}:${position.column}`;
}
