import { parse } from "smol-toml";
import type { ObjectRef } from "@bpfleet/base";
import type { KubeObject } from "@bpfleet/kinds";
import { declareStatic, staticRef } from "./declaration.ts";
import { textOf, table } from "./toml-keys.ts";
import type { ProceedOn } from "./load-wish.ts";

/** What a file of programs.d declares, as anybody else would. */
export interface StaticProgram {
  readonly ref: ObjectRef;
  readonly config: KubeObject;
}

const keys = ["name", "interface", "path", "section_name", "program_type", "priority", "proceed_on"] as const;
const verdicts: readonly ProceedOn[] = ["ABORTED", "DROP", "PASS", "TX", "REDIRECT", "DISPATCHER_RETURN"];
const usualPriority = 50;

/** The `[[programs]]` of a file. Throws a SyntaxError that names the key. */
export function parseStaticPrograms(text: string): readonly StaticProgram[] {
  const { programs = [] } = table(parse(text), "", ["programs"]);
  if (!Array.isArray(programs)) throw new SyntaxError("programs: must be a list of tables; write [[programs]]");
  return programs.map((value, at) => parseProgram(value, `programs[${at}]`));
}

function parseProgram(value: unknown, at: string): StaticProgram {
  const program = table(value, at, keys);
  const text = (name: (typeof keys)[number], usual?: string): string => textOf(program, name, `${at}.${name}`, usual);
  const name = text("name");
  if (!/^[a-z0-9]([-a-z0-9]{0,200}[a-z0-9])?$/.test(name))
    throw new SyntaxError(`${at}.name: must be lower-case letters, digits and -, is ${JSON.stringify(name)}`);
  const type = text("program_type");
  if (type.toLowerCase() !== "xdp")
    throw new SyntaxError(
      `${at}.program_type: must be xdp, is ${JSON.stringify(type)}; declare it as a BpfProgramConfig`,
    );
  const path = text("path");
  if (!path.startsWith("/")) throw new SyntaxError(`${at}.path: must begin with /, is ${JSON.stringify(path)}`);
  const { priority = usualPriority, proceed_on: proceedOn = [] } = program;
  if (typeof priority !== "number" || !Number.isInteger(priority) || priority < 0 || priority > 1000)
    throw new SyntaxError(`${at}.priority: must be a whole number from 0 to 1000, is ${JSON.stringify(priority)}`);
  if (!Array.isArray(proceedOn)) throw new SyntaxError(`${at}.proceed_on: must be a list of verdicts`);
  const config = declareStatic(name, {
    source: { file: path },
    section: text("section_name"),
    attach: {
      type: "XDP",
      interface: text("interface"),
      priority,
      direction: "NONE",
      proceedOn: proceedOn.map((each, index) => verdictOf(each, `${at}.proceed_on[${index}]`)),
    },
    globals: new Map(),
  });
  return { ref: staticRef(name), config };
}

function verdictOf(value: unknown, key: string): ProceedOn {
  const verdict = verdicts.find((each) => each.toLowerCase() === value);
  if (verdict === undefined) {
    const known = verdicts.map((each) => each.toLowerCase()).join(", ");
    throw new SyntaxError(`${key}: must be one of ${known}, is ${JSON.stringify(value)}`);
  }
  return verdict;
}
