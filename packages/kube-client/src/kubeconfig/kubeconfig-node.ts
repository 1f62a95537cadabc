import { LineCounter, isMap, isScalar, isSeq, parseDocument } from "yaml";
import type { Node } from "yaml";
import { AccessError } from "./access-error.ts";

/** One value of a kubeconfig file that knows where it stands. */
export class KubeconfigNode {
  readonly file: string;
  /** `users[0].user.exec` */
  readonly path: string;
  readonly #node: Node | null | undefined;
  readonly #lines: LineCounter;

  constructor(file: string, path: string, node: Node | null | undefined, lines: LineCounter) {
    this.file = file;
    this.path = path;
    this.#node = node;
    this.#lines = lines;
  }

  static parse(file: string, text: string): KubeconfigNode {
    const lines = new LineCounter();
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
    const [error] = document.errors;
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      throw new AccessError(
        `read ${file}:${line}:${col}: no YAML: ${error.message}; \`kubectl config view\` must read it too`,
      );
    }
    const root = new KubeconfigNode(file, "", document.contents, lines);
    if (document.contents !== null && !isMap(document.contents))
      root.fail("must be an object", "is this a kubeconfig?");
    return root;
  }

  get isAbsent(): boolean {
    const node = this.#node;
    return node === undefined || node === null || (isScalar(node) && node.value === null);
  }

  at(key: string): KubeconfigNode {
    const path = this.path === "" ? key : `${this.path}.${key}`;
    if (!this.isAbsent && !isMap(this.#node)) this.fail("must be an object", "indent its fields below it");
    const child = isMap(this.#node) ? (this.#node.get(key, true) as Node | undefined) : undefined;
    return new KubeconfigNode(this.file, path, child, this.#lines);
  }

  items(): readonly KubeconfigNode[] {
    if (this.isAbsent) return [];
    if (!isSeq(this.#node)) return this.fail("must be a list", "begin each entry with `- `");
    return this.#node.items.map(
      (item, index) => new KubeconfigNode(this.file, `${this.path}[${index}]`, item as Node, this.#lines),
    );
  }

  /** `undefined` where it is absent or empty. */
  text(): string | undefined {
    if (this.isAbsent) return undefined;
    if (!isScalar(this.#node) || typeof this.#node.value !== "string")
      return this.fail("must be text", "put it in quotes");
    return this.#node.value === "" ? undefined : this.#node.value;
  }

  flag(): boolean {
    if (this.isAbsent) return false;
    if (!isScalar(this.#node) || typeof this.#node.value !== "boolean")
      return this.fail("must be true or false", "write it without quotes");
    return this.#node.value;
  }

  texts(): readonly string[] {
    return this.items().map((item) => item.text() ?? "");
  }

  keys(): readonly string[] {
    return isMap(this.#node) ? this.#node.items.map(({ key }) => String(isScalar(key) ? key.value : key)) : [];
  }

  /** The plain value, for what is handed on as it is. */
  plain(): unknown {
    return this.isAbsent ? undefined : (this.#node as Node & { toJSON(): unknown }).toJSON();
  }

  fail(problem: string, help: string, cause?: unknown): never {
    const offset = this.#node?.range?.[0];
    const { line, col } = offset === undefined ? { line: 0, col: 0 } : this.#lines.linePos(offset);
    const place = offset === undefined ? this.file : `${this.file}:${line}:${col}`;
    const what = this.path === "" ? "" : ` ${this.path}`;
    throw new AccessError(`read ${place}:${what} ${problem}; ${help}`, { cause });
  }
}
