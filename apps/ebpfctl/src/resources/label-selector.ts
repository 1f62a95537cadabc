import { Failure } from "../failure.ts";

export type Labels = Readonly<Record<string, string>>;

/** `a=b,c!=d,e in (f,g),h notin (i),j,!k` as a test of labels. */
export function parseLabelSelector(text: string): (labels: Labels) => boolean {
  const tests = splitRequirements(text).map(parseRequirement);
  return (labels) => tests.every((test) => test(labels));
}

/** At commas that are not in parentheses. */
function splitRequirements(text: string): readonly string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

const key = "([A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?)";
const value = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?";
const equality = new RegExp(`^${key}\\s*(==|=|!=)\\s*(${value})$`);
const membership = new RegExp(`^${key}\\s+(in|notin)\\s+\\(([^()]*)\\)$`);
const existence = new RegExp(`^(!?)\\s*${key}$`);

function parseRequirement(text: string): (labels: Labels) => boolean {
  const equal = equality.exec(text);
  if (equal !== null) {
    const [, name = "", , operator, wanted = ""] = equal;
    return operator === "!=" ? (labels) => labels[name] !== wanted : (labels) => labels[name] === wanted;
  }
  const member = membership.exec(text);
  if (member !== null) {
    const [, name = "", , operator, list = ""] = member;
    const values = list.split(",").map((part) => part.trim());
    return operator === "in"
      ? (labels) => labels[name] !== undefined && values.includes(labels[name])
      : (labels) => labels[name] === undefined || !values.includes(labels[name]);
  }
  const exists = existence.exec(text);
  if (exists !== null) {
    const [, not, name = ""] = exists;
    return (labels) => (labels[name] === undefined) === (not === "!");
  }
  throw new Failure(
    `unable to parse requirement: ${JSON.stringify(text)} is none of a=b, a!=b, a in (b,c), a notin (b,c), a, !a`,
  );
}
