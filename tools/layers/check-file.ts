import { posix } from "node:path";
import { blankText, lineAt, readImports } from "./read-imports.ts";
import type { Import } from "./read-imports.ts";

/** layers.json: which part of the product may import which. The name is that of `@bpfleet/<name>`. */
export interface Layer {
  readonly folder: string;
  /** A pure package reads no clock, no chance, and nothing of Node. */
  readonly isPure: boolean;
  readonly imports: readonly string[];
  /** Only `import type`. */
  readonly importsTypes?: readonly string[];
  /** Allowed to these files of the layer alone. */
  readonly importsFrom?: Readonly<Record<string, readonly string[]>>;
}

export interface Layers {
  readonly [name: string]: Layer;
}

export interface PackageJson {
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** What the check needs to know of one file; paths are from the root of the repository. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

const bannedWords = /(^|[-_/])(utils?|helpers?|common|misc|managers?)([-_./]|$)/;
const bannedNames = /(^|\/)(services?|types|index)\.[a-z]+$/;
const impurities = /\bMath\.random\b|\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\s*\)/g;

/** A name that says nothing about what is in the file. */
export function checkName(path: string): string[] {
  const banned = bannedWords.exec(path)?.[2] ?? bannedNames.exec(path)?.[2];
  return banned === undefined
    ? []
    : [`${path}: "${banned}" says nothing about what is in it; name the file by its main export`];
}

/** Every edge from this file that the layers do not have, and every impurity in a pure package. */
export function checkFile(file: SourceFile, layers: Layers, packages: ReadonlyMap<string, PackageJson>): string[] {
  const [name, layer] = Object.entries(layers).find(([, each]) => file.path.startsWith(`${each.folder}/`)) ?? [];
  const isTest = /\.(test|contract)\.ts$|\/testing\//.test(file.path);
  const problems = readImports(file.text).flatMap((each) => {
    const problem = each.specifier.startsWith(".")
      ? checkRelative(file.path, layer, each)
      : checkBare(file.path, name, layer, each, isTest, layers, packages);
    return problem === undefined ? [] : [`${file.path}:${each.line}: ${problem}`];
  });
  if (layer?.isPure !== true || isTest) return problems;
  const code = blankText(file.text);
  for (const match of code.matchAll(impurities)) {
    problems.push(
      `${file.path}:${lineAt(code, match.index)}: ${match[0]} in pure package ${name}; take time and chance as arguments`,
    );
  }
  return problems;
}

function checkRelative(path: string, layer: Layer | undefined, { specifier }: Import): string | undefined {
  const target = posix.join(posix.dirname(path), specifier);
  const isOutside = layer === undefined && !/^(packages|apps)\//.test(target);
  if (isOutside || target.startsWith(`${layer?.folder}/`) || target === "package.json") return undefined;
  return `"${specifier}" leaves ${layer?.folder ?? path.split("/")[0]}; import a package by its name`;
}

function checkBare(
  path: string,
  name: string | undefined,
  layer: Layer | undefined,
  { specifier, isTypeOnly }: Import,
  isTest: boolean,
  layers: Layers,
  packages: ReadonlyMap<string, PackageJson>,
): string | undefined {
  if (specifier.startsWith("node:")) {
    return layer?.isPure && !isTest ? `${specifier} in pure package ${name}` : undefined;
  }
  const [, target, subpath] = /^@bpfleet\/([^/]+)(\/.+)?$/.exec(specifier) ?? [];
  if (target === undefined) return layer && !isTest ? checkOutside(name, specifier, packages) : undefined;
  const to = layers[target];
  if (to === undefined) return `${specifier} is not in layers.json`;
  if (packages.get(target)?.exports?.[`.${subpath ?? ""}`] === undefined)
    return `${specifier} is not in that package's exports`;
  if (layer === undefined || target === name) return undefined;
  if (to.folder.startsWith("apps/")) return `${name} → ${target}: nothing imports an app`;
  if (isTest || layer.imports.includes(target)) return undefined;
  if (layer.importsTypes?.includes(target)) {
    return isTypeOnly ? undefined : `${name} → ${target} is for types alone; write import type`;
  }
  const files = layer.importsFrom?.[target];
  if (files === undefined) return `${name} → ${target} is no edge of layers.json; a new edge needs an ADR`;
  return files.some((file) => path === `${layer.folder}/${file}`)
    ? undefined
    : `${name} → ${target} is only for ${files.join(" and ")}`;
}

function checkOutside(
  name: string | undefined,
  specifier: string,
  packages: ReadonlyMap<string, PackageJson>,
): string | undefined {
  const outside = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  const declared = packages.get(name ?? "")?.dependencies?.[outside];
  return declared === undefined ? `${outside} is not in the dependencies of ${name}` : undefined;
}
