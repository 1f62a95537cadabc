import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { joinPointer } from "../../yaml/places.ts";
import { parseBytecode } from "./bytecode.ts";
import { foreignProceedNames } from "./program-types.ts";
import type { ConfigSpec, ProgramConfig } from "./spec.ts";

/** What a structural schema cannot say of `bytecode` and `globals`, and what has no effect. */
export function checkConfig({ spec }: ProgramConfig, found: IssueList): void {
  if (spec.bytecode !== undefined) parseBytecode(spec.bytecode, found);
  if (found.isSound("/spec/globals")) checkGlobals(spec.globals ?? {}, found);
  if (found.isSound("/spec/sharedmaps")) checkMaps(spec, found);
  if (found.isSound("/spec/attachpoint") && found.isSound("/spec/type") && found.isSound("/spec/priority"))
    warnOfNoEffect(spec, found);
}

const variable = /^[A-Za-z_][A-Za-z0-9_]*$/;
const longestList = 4096;

function checkGlobals(globals: Readonly<Record<string, unknown>>, found: IssueList): void {
  for (const [name, value] of Object.entries(globals)) {
    const path = joinPointer("/spec/globals", name);
    if (!variable.test(name)) found.error(path, "bytecode", `${describe(name)} is no name of a variable`);
    const items: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (items.length > longestList)
      found.error(path, "bytecode", `must have at most ${longestList} items, has ${items.length}`);
    const bad = items.find((item) => !isPlain(item));
    if (items.length === 0 || bad !== undefined)
      found.error(
        path,
        "bytecode",
        `must be a number, true or false, text, or a list of these, is ${describe(bad ?? value)}`,
      );
    else if (items.some((item) => typeof item === "number" && Number.isInteger(item) && !Number.isSafeInteger(item)))
      found.error(path, "bytecode", 'is too large to be exact; write it as text: "18446744073709551615"');
  }
}

function isPlain(value: unknown): boolean {
  return (
    typeof value === "string" || typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))
  );
}

function checkMaps({ sharedmaps = {} }: ConfigSpec, found: IssueList): void {
  for (const name of Object.keys(sharedmaps))
    if (!variable.test(name))
      found.error(joinPointer("/spec/sharedmaps", name), "bytecode", `${describe(name)} is no name of a map`);
}

function warnOfNoEffect(spec: ConfigSpec, found: IssueList): void {
  const { networkmultiattach: network, interface: only } = spec.attachpoint;
  if (spec.priority !== undefined && only === undefined)
    found.warning(
      "/spec/priority",
      "no-effect",
      `has no effect here${network === undefined ? "" : "; spec.attachpoint.networkmultiattach.priority is used"}`,
    );
  if (network === undefined) return;
  if (spec.type === "XDP" && network.direction !== "NONE")
    found.warning("/spec/attachpoint/networkmultiattach/direction", "no-effect", "has no effect for type XDP");
  const hook = spec.type === "XDP" ? "xdp" : "tc";
  const foreign = foreignProceedNames(hook, network.proceedon ?? []);
  if (foreign.length > 0)
    found.warning(
      "/spec/attachpoint/networkmultiattach/proceedon",
      "no-effect",
      `${foreign.join(", ")}: no verdict of type ${spec.type}, left out`,
    );
}
