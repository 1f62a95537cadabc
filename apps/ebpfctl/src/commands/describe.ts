import { parseConfig } from "../config.ts";
import { SilentFailure } from "../failure.ts";
import { renderDescription } from "../output/describe.ts";
import { parseLabelSelector } from "../resources/label-selector.ts";
import { loadObjects, namespaceAsked } from "../resources/load-objects.ts";
import { parseResourceArgs } from "../resources/resource-args.ts";
import { selectObjects } from "../resources/select-objects.ts";
import type { DefineCommand } from "./mod.ts";

export const defineDescribe: DefineCommand = (program, world) => {
  program
    .command("describe")
    .summary("show objects with conditions, metrics and events")
    .description(
      "Show everything that is known of objects: what was declared, what became of it and why, what was counted, what happened.",
    )
    .argument("[resource...]", "a kind by any of its names, then names; or kind/name")
    .option("-n, --namespace <name>", "namespace of the objects", "default")
    .option("-A, --all-namespaces", "objects of every namespace")
    .option("-l, --selector <labels>", "only objects with these labels")
    .action(async (words, flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      const wishes = parseResourceArgs(words);
      const scope = {
        namespace: await namespaceAsked(flags, command, config, world),
        matches: flags.selector === undefined ? undefined : parseLabelSelector(flags.selector),
      };
      const selection = selectObjects(
        await loadObjects(config, world, { wishes, scope, withEvents: true }),
        wishes,
        scope,
      );
      const objects = selection.kinds.flatMap((selected) => selected.objects);
      world.out.write(objects.map((object) => renderDescription(object, world.clock.now())).join("\n\n"));
      for (const failure of selection.failures) world.err.write(`${failure.message}\n`);
      if (selection.failures.length > 0) throw new SilentFailure();
      if (objects.length === 0)
        world.err.write(
          scope.namespace === undefined
            ? "No resources found\n"
            : `No resources found in ${scope.namespace} namespace.\n`,
        );
    });
};
