import { setTimeout as sleep } from "node:timers/promises";
import type { NodeReport, ObjectReport } from "@bpfleet/agent";
import { refKey, type ObjectRef } from "@bpfleet/base";
import { parseConfig } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { Failure, SilentFailure } from "../failure.ts";
import { parseLabelSelector } from "../resources/label-selector.ts";
import { loadNode } from "../resources/load-node.ts";
import { parseResourceArgs, resourceName, singularName, type ResourceWish } from "../resources/resource-args.ts";
import { selectObjects, type Scope } from "../resources/select-objects.ts";
import { watchObjects } from "../resources/watch-objects.ts";
import { isMet, parseWish, type Wish } from "../resources/wish-for.ts";
import type { Config } from "../config.ts";
import type { World } from "../world.ts";
import type { DefineCommand } from "./mod.ts";

/** A negative timeout is as good as for ever. */
const longestMs = 7 * 24 * 3_600_000;

interface Awaited {
  readonly ref: ObjectRef;
  readonly one: string;
  readonly many: string;
}

export const defineWait: DefineCommand = (program, world) => {
  program
    .command("wait")
    .summary("wait until objects have a condition, or are gone")
    .description(
      "Wait until every one of the objects is as --for says: `wait --for=condition=Ready ebpfprogram/filter --timeout=30s`. Exit code 1 when the time is over before.",
    )
    .argument("[resource...]", "a kind by any of its names, then names; or kind/name")
    .requiredOption("--for <what>", "condition=TYPE, condition=TYPE=STATUS, delete, create, or jsonpath={PATH}=VALUE")
    .option("--timeout <duration>", "how long; 0 looks once, less than 0 waits a week", "30s")
    .option("-n, --namespace <name>", "namespace of the objects", "default")
    .option("-A, --all-namespaces", "objects of every namespace")
    .option("-l, --selector <labels>", "objects with these labels")
    .option("--all", "all objects of the kind")
    .action(async (words, flags, command) => {
      const wish = parseWish(flags.for);
      const timeoutMs = flags.timeout.startsWith("-") ? longestMs : parseDuration(flags.timeout);
      const wishes = parseResourceArgs(words);
      const isNamed = wishes.some(({ names }) => names.length > 0);
      if (!isNamed && flags.all !== true && flags.selector === undefined)
        throw new Failure("resource(s) were provided, but no name was specified; name them, or give --all or -l");
      const scope: Scope = {
        namespace: flags.allNamespaces === true ? undefined : flags.namespace,
        matches: flags.selector === undefined ? undefined : parseLabelSelector(flags.selector),
      };
      await waitFor(wish, wishes, scope, timeoutMs, parseConfig(command.optsWithGlobals(), world), world);
    });
};

async function waitFor(
  wish: Wish,
  wishes: readonly ResourceWish[],
  scope: Scope,
  timeoutMs: number,
  config: Config,
  world: World,
): Promise<void> {
  const first = await loadNode(config, world);
  const pending = new Map(choose(first, wish, wishes, scope).map((each) => [refKey(each.ref), each]));
  const judge = (report: NodeReport): void => {
    const found = new Map(report.objects.map((object): [string, ObjectReport] => [refKey(object.ref), object]));
    for (const [key, { one }] of pending)
      if (isMet(wish, found.get(key))) {
        pending.delete(key);
        world.out.write(`${one} condition met\n`);
      }
  };
  judge(first);
  if (pending.size > 0 && timeoutMs > 0) {
    const ending = new AbortController();
    const watching = watchObjects(
      config,
      { ...world, onInterrupt: () => ending.signal },
      { wishes, scope },
      (report) => {
        judge(report);
        if (pending.size === 0) ending.abort();
      },
    );
    const interrupt = world.onInterrupt();
    interrupt.addEventListener("abort", () => ending.abort(), { once: true });
    const timer = sleep(timeoutMs, undefined, { signal: ending.signal }).then(
      () => ending.abort(),
      () => undefined,
    );
    await Promise.all([watching, timer]);
  }
  for (const { many, ref } of pending.values())
    world.err.write(`error: timed out waiting for the condition on ${many}/${ref.name}\n`);
  if (pending.size > 0) throw new SilentFailure();
}

/** Those that are there; of what is to come or to go, also those that are not. */
function choose(report: NodeReport, wish: Wish, wishes: readonly ResourceWish[], scope: Scope): readonly Awaited[] {
  const { kinds, failures } = selectObjects(report, wishes, scope);
  const awaited = kinds.flatMap(({ kind, objects }) =>
    objects.map(({ ref }) => ({ ref, one: `${singularName(kind)}/${ref.name}`, many: resourceName(kind) })),
  );
  const [missing] = failures;
  if (wish.for === "create") {
    const known = new Set(awaited.map(({ ref }) => refKey(ref)));
    const named = wishes.flatMap(({ kind, names }) =>
      names.map((name): Awaited => {
        const namespace = kind.scope === "Cluster" ? "" : (scope.namespace ?? "default");
        const ref = { group: kind.group, kind: kind.kind, namespace, name };
        return { ref, one: `${singularName(kind)}/${name}`, many: resourceName(kind) };
      }),
    );
    return [...awaited, ...named.filter(({ ref }) => !known.has(refKey(ref)))];
  }
  if (wish.for === "delete") return awaited;
  if (missing !== undefined) throw missing;
  if (awaited.length === 0) throw new Failure("no matching resources found");
  return awaited;
}
