/** One import or re-export of a module. */
export interface Import {
  readonly specifier: string;
  /** 1-based. */
  readonly line: number;
  readonly isTypeOnly: boolean;
}

const statement =
  /\b(import|export)\b(\s+type\b)?[^;"'()]*?\bfrom\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']/g;

/** All imports of a TypeScript source, in order: static, re-exported, for side effects, dynamic. */
export function readImports(source: string): Import[] {
  const code = blankText(source);
  return Array.from(code.matchAll(statement), (match) => ({
    specifier: match[3] ?? match[4] ?? "",
    line: lineAt(code, match.index),
    isTypeOnly: match[2] !== undefined,
  }));
}

/** 1-based line of an offset. */
export function lineAt(source: string, offset: number): number {
  return source.slice(0, offset).split("\n").length;
}

/** The source with comments and all strings but module names as blanks; offsets and lines stay. */
export function blankText(source: string): string {
  const opaque = /\/\/.*|\/\*[^]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[^]|[^`\\])*`/g;
  return source.replaceAll(opaque, (text, offset: number) => {
    const isModuleName = /^["']/.test(text) && /\b(from|import)\s*\(?\s*$/.test(source.slice(0, offset));
    return isModuleName ? text : text.replaceAll(/[^\n]/g, " ");
  });
}
