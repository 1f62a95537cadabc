import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Layer, Layers } from "./layers/check-file.ts";

const [begin, end] = ["<!-- layers: made by tools/generate-layers.ts -->\n", "<!-- /layers -->"];

/** The picture of the layers in ARCHITECTURE.md, between its two marks. */
export function generateLayers(root: string): ReadonlyMap<string, string> {
  const path = join(root, "ARCHITECTURE.md");
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) return new Map();
  const layers = JSON.parse(readFileSync(join(root, "tools/layers/layers.json"), "utf8")) as Layers;
  const picture = `\`\`\`text\n${renderLayers(layers)}\n\`\`\`\n`;
  return new Map([["ARCHITECTURE.md", text.slice(0, from + begin.length) + picture + text.slice(to)]]);
}

/** One line a layer, lowest first: what it is, and what it imports. */
export function renderLayers(layers: Layers): string {
  const width = Math.max(...Object.keys(layers).map((name) => name.length));
  const rank = ([name]: [string, Layer]): number => rankOf(name, layers);
  return Object.entries(layers)
    .toSorted((a, b) => rank(a) - rank(b))
    .map(([name, { isPure, imports, importsTypes = [], importsFrom = {} }]) => {
      const edges = [
        imports.join(" "),
        ...importsTypes.map((each) => `types of ${each}`),
        ...Object.entries(importsFrom).map(([each, files]) => `${each} in ${files.join(" and ")}`),
      ].filter((edge) => edge !== "");
      return `${name.padEnd(width)}  ${isPure ? "pure" : "    "}  ${edges.length > 0 ? `→ ${edges.join(", ")}` : ""}`.trimEnd();
    })
    .join("\n");
}

function rankOf(name: string, layers: Layers): number {
  const { imports = [], importsTypes = [], importsFrom = {} } = layers[name] ?? {};
  const below = [...imports, ...importsTypes, ...Object.keys(importsFrom)];
  return below.length === 0 ? 0 : 1 + Math.max(...below.map((each) => rankOf(each, layers)));
}
