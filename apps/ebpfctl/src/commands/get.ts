import {
  renderObjects,
  outputForms,
  parseOutputFormat,
  renderDocument,
  type OutputFormat,
  type TableOptions,
} from "../output/print-objects.ts";
import type { Issue } from "@bpfleet/base";
import { parseConfig } from "../config.ts";
import { SilentFailure } from "../failure.ts";
import { count } from "../manifests/render-issues.ts";
import { parseLabelSelector } from "../resources/label-selector.ts";
import { loadObjects, namespaceAsked } from "../resources/load-objects.ts";
import { parseResourceArgs, type ResourceWish } from "../resources/resource-args.ts";
import { selectObjects, type Scope, type Selection } from "../resources/select-objects.ts";
import { watchObjects } from "../resources/watch-objects.ts";
import type { World } from "../world.ts";
import type { DefineCommand } from "./mod.ts";

export const defineGet: DefineCommand = (program, world) => {
  program
    .command("get")
    .summary("list objects")
    .description("List objects and what became of them: `get ebpfprograms`, `get ebpf/filter -o yaml`, `get all -A`.")
    .argument("[resource...]", "a kind by any of its names, then names; or kind/name")
    .option("-n, --namespace <name>", "namespace of the objects", "default")
    .option("-A, --all-namespaces", "objects of every namespace")
    .option("-l, --selector <labels>", "only objects with these labels: a=b,c!=d,e in (f,g)")
    .option("-o, --output <form>", outputForms)
    .option("--no-headers", "leave the first line out")
    .option("-w, --watch", "go on and print what changes")
    .action(async (words, flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      const wishes = parseResourceArgs(words);
      const format = parseOutputFormat(flags.output);
      const scope: Scope = {
        namespace: await namespaceAsked(flags, command, config, world),
        matches: flags.selector === undefined ? undefined : parseLabelSelector(flags.selector),
      };
      const print = new Printer(world, wishes, scope, format, flags.headers);
      const asked = { wishes, scope };
      const report = await loadObjects(config, world, asked);
      const selection = selectObjects(report, wishes, scope);
      print.all(selection);
      for (const { path, issues } of report.broken) world.err.write(brokenFile(path, issues));
      for (const failure of selection.failures) world.err.write(`${failure.message}\n`);
      if (selection.failures.length > 0) throw new SilentFailure();
      if (flags.watch === true) {
        await watchObjects(config, world, asked, (report) => print.changes(selectObjects(report, wishes, scope)));
      }
    });
};

/** A file of the store that is no object: nothing in a list would tell of it. */
function brokenFile(path: string, [first, ...others]: readonly Issue[]): string {
  const place = first?.position === undefined ? path : `${path}:${first.position.line}:${first.position.column}`;
  const rest = others.length === 0 ? "" : `, and ${count(others.length, "more mistake")}`;
  return `warning: ${place}: ${first?.message ?? "it cannot be read"}${rest}; correct or remove it\n`;
}

class Printer {
  readonly #world: World;
  readonly #wishes: readonly ResourceWish[];
  readonly #scope: Scope;
  readonly #format: OutputFormat;
  readonly #hasHeader: boolean;
  #seen = new Map<string, string>();

  constructor(world: World, wishes: readonly ResourceWish[], scope: Scope, format: OutputFormat, hasHeader: boolean) {
    this.#world = world;
    this.#wishes = wishes;
    this.#scope = scope;
    this.#format = format;
    this.#hasHeader = hasHeader;
  }

  all(selection: Selection): void {
    const { out, err } = this.#world;
    const names = this.#wishes.flatMap((wish) => wish.names);
    this.#remember(selection);
    if (this.#format.form !== "table") {
      const isSingle = this.#wishes.length === 1 && names.length === 1;
      if (selection.failures.length === 0 || selection.kinds.some(({ objects }) => objects.length > 0)) {
        out.write(renderDocument(selection.kinds, this.#format, isSingle));
      }
      return;
    }
    const shown = selection.kinds.filter(({ objects }) => objects.length > 0);
    const isWide = this.#format.isWide;
    out.write(
      shown
        .map((selected) => renderObjects(selected, { ...this.#table(isWide), hasHeader: this.#hasHeader }))
        .join("\n"),
    );
    if (shown.length === 0 && selection.failures.length === 0) err.write(this.#nothing());
  }

  changes(selection: Selection): void {
    const before = this.#seen;
    this.#remember(selection);
    const changed = selection.kinds.map(({ kind, objects }) => ({
      kind,
      objects: objects.filter(
        ({ ref, object }) => before.get(`${kind.plural}/${ref.namespace}/${ref.name}`) !== JSON.stringify(object),
      ),
    }));
    for (const selected of changed.filter(({ objects }) => objects.length > 0)) {
      if (this.#format.form === "table")
        this.#world.out.write(renderObjects(selected, { ...this.#table(this.#format.isWide), hasHeader: false }));
      else
        for (const object of selected.objects)
          this.#world.out.write(renderDocument([{ kind: selected.kind, objects: [object] }], this.#format, true));
    }
  }

  #table(isWide: boolean): Omit<TableOptions, "hasHeader"> {
    return {
      isWide,
      hasNamespace: this.#scope.namespace === undefined,
      hasKind: this.#wishes.length > 1,
      nowMs: this.#world.clock.now(),
    };
  }

  #nothing(): string {
    const isNamespaced =
      this.#scope.namespace !== undefined && this.#wishes.some(({ kind }) => kind.scope === "Namespaced");
    return isNamespaced ? `No resources found in ${this.#scope.namespace} namespace.\n` : "No resources found\n";
  }

  #remember(selection: Selection): void {
    this.#seen = new Map(
      selection.kinds.flatMap(({ kind, objects }) =>
        objects.map(({ ref, object }) => [`${kind.plural}/${ref.namespace}/${ref.name}`, JSON.stringify(object)]),
      ),
    );
  }
}
