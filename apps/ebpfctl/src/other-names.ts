/**
 * In an image this program has further names: those of the programs that documents call inside a pod. Each
 * does what the document wants of it.
 */
export const otherNames = ["ls", "wget", "bpftool", "calico-node", "calico-kube-controllers"] as const;

/** Words after `ebpfctl`, by the name that the program was called by and the words after that. */
export function wordsFor(name: string, words: readonly string[]): readonly string[] {
  switch (name) {
    case "ls":
    case "wget":
      return [name, ...words];
    case "bpftool":
      return bpftoolWords(words);
    case "calico-node":
      return words[0] === "-bpf-maps" ? ["map", "list"] : words[0] === "-bpf-conntrack" ? ["conntrack", "dump"] : words;
    case "calico-kube-controllers":
      return words[0] === "status" ? ["wget", "-q", "-O", "-", "http://localhost:8080/readyz"] : words;
    default:
      return words;
  }
}

/** bpftool takes `show` for `list`, no word at all too, and words by their beginnings. */
function bpftoolWords(words: readonly string[]): readonly string[] {
  const [object = "prog", action = "list", ...rest] = words;
  const known = ["prog", "map", "link"].find((each) => each.startsWith(object) || object === "program");
  if (known === undefined) return words;
  const isList = ["show", "list"].some((each) => each.startsWith(action));
  return [known, isList ? "list" : action, ...rest];
}
