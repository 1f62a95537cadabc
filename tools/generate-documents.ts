import { documentBlocks } from "./documents/blocks.ts";
import type { BlockState } from "./documents/blocks.ts";

const states: Readonly<Record<BlockState, string>> = {
  applied: "applied as it stands",
  fragment: "fragment",
  output: "output",
  defective: "defective",
};

const head = `<!-- Made by tools/generate-documents.ts. Do not edit. -->

# The documents

Every YAML block of the five documents that bpfleet is made from, what it is, and what it does today.

| state | means |
|---|---|
| applied as it stands | an object; \`kubectl apply\` and \`ebpfctl apply\` take it unmodified |
| fragment | part of an object or of a file, which tests put into its place |
| output | what a command prints; ours prints it |
| defective | malformed in the document: the error for its text is clear, and the nearest valid form works |
`;

/** docs/reference/documents.md: every YAML block of the documents with its state and its tests. */
export function generateDocuments(): ReadonlyMap<string, string> {
  const parts = [...Map.groupBy(documentBlocks, ({ document }) => document)].map(([document, blocks]) => {
    const rows = blocks.map(({ line, state, what, today, tests }) => {
      const links = tests.map((test) => `[${test.replace(/^.*\//, "")}](../../${test})`);
      return `| ${line} | ${what} | ${states[state]} | ${today} | ${links.join(", ")} |`;
    });
    return `## ${document}\n\n| line | block | state | today | tests |\n|---|---|---|---|---|\n${rows.join("\n")}\n`;
  });
  return new Map([["docs/reference/documents.md", `${head}\n${parts.join("\n")}`]]);
}
