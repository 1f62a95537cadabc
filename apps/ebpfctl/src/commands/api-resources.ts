import { renderTable } from "@bpfleet/base";
import { apiVersionOf, kinds } from "@bpfleet/kinds";
import type { DefineCommand } from "./mod.ts";

export const defineApiResources: DefineCommand = (program, world) => {
  program
    .command("api-resources")
    .summary("list the kinds that can be declared")
    .description("List the kinds that can be declared, with every name that get, describe and delete know them by.")
    .option("--no-headers", "leave the first line out")
    .action((flags) => {
      const header = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
      const rows = kinds.map((kind) => [
        kind.plural,
        kind.shortNames.join(","),
        apiVersionOf(kind),
        String(kind.scope === "Namespaced"),
        kind.kind,
      ]);
      world.out.write(
        renderTable(
          flags.headers ? header : undefined,
          rows.toSorted(([a = ""], [b = ""]) => (a < b ? -1 : 1)),
        ),
      );
    });
};
