import { refKey } from "@bpfleet/base";
import type { Issue } from "@bpfleet/base";
import { findKind } from "../kinds.ts";
import type { KubeObject, Lowered, NodeView, Parsed, ResourceView } from "../kind.ts";
import { parseManifest } from "../yaml/parse-manifest.ts";

export interface ReadAll {
  readonly parsed: readonly Parsed[];
  readonly issues: readonly Issue[];
  readonly view: ResourceView;
  /** What all objects together ask for. */
  lower(): Lowered;
  /** What they say there is. */
  facts(): Lowered["intents"];
}

/** The node that tests lower for. */
export const testNode: NodeView = {
  name: "node-1",
  labels: { "kubernetes.io/hostname": "node-1", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" },
  internalIps: [],
};

/** What an agent makes of a text, for tests. */
export function readAll(text: string, file = "test.yaml"): ReadAll {
  const manifest = parseManifest(text, file);
  const results = manifest.objects.map((object) => kindOf(object).parse(object.value, object.positionOf));
  const parsed = results.flatMap((result) => (result.ok ? [result.value] : []));
  const view = viewOf(parsed);
  const lowered = (): readonly Lowered[] => parsed.map((each) => kindOf(each.object).lower(each, view));
  const intents = (isFact: boolean): Lowered["intents"] =>
    lowered().flatMap((each) => each.intents.filter((intent) => (intent.isFact === true) === isFact));
  return {
    parsed,
    issues: [...manifest.issues, ...results.flatMap((result) => result.issues)],
    view,
    lower: () => ({ intents: intents(false), problems: lowered().flatMap(({ problems }) => problems) }),
    facts: () => intents(true),
  };
}

/** `12: error spec.type: …`, one line an issue. */
export function issueLines(text: string): string[] {
  return readAll(text).issues.map(({ position, severity, message }) => `${position?.line}: ${severity} ${message}`);
}

function kindOf(object: Pick<KubeObject, "apiVersion" | "kind">): NonNullable<ReturnType<typeof findKind>> {
  const kind = findKind(object.apiVersion, object.kind);
  if (kind === undefined) throw new RangeError(`no kind ${object.apiVersion} ${object.kind}`);
  return kind;
}

/** A view of these objects and no others; of equal references the last one counts. */
function viewOf(objects: readonly Parsed[]): ResourceView {
  const byRef = new Map(objects.map((parsed) => [refKey(parsed.ref), parsed]));
  return {
    find: (ref) => byRef.get(refKey(ref)),
    list: (group, kind, namespace) =>
      [...byRef.values()].filter(
        ({ ref }) =>
          ref.group === group && ref.kind === kind && (namespace === undefined || ref.namespace === namespace),
      ),
    node: testNode,
  };
}
