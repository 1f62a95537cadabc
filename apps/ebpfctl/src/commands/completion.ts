import { Failure } from "../failure.ts";
import type { DefineCommand } from "./mod.ts";

/** The shells ask ebpfctl itself what may come next, so that they always know the newest flags and names. */
const scripts: Readonly<Record<string, string>> = {
  bash: `# bash completion of ebpfctl: source <(ebpfctl completion bash)
_ebpfctl() {
	local word=\${COMP_WORDS[COMP_CWORD]}
	local IFS=$'\\n'
	mapfile -t COMPREPLY < <("\${COMP_WORDS[0]}" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1)
	if [ \${#COMPREPLY[@]} -eq 0 ]; then mapfile -t COMPREPLY < <(compgen -f -- "$word"); fi
}
complete -o filenames -F _ebpfctl ebpfctl
`,
  zsh: `#compdef ebpfctl
# zsh completion of ebpfctl: source <(ebpfctl completion zsh)
_ebpfctl() {
	local -a answers
	answers=("\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null | sed -e 's/:/\\\\:/g' -e 's/\\t/:/')}")
	answers=("\${(@)answers:#}")
	if (( \${#answers} )); then _describe ebpfctl answers; else _files; fi
}
compdef _ebpfctl ebpfctl
`,
  fish: `# fish completion of ebpfctl: ebpfctl completion fish | source
function __ebpfctl_complete
	set -l words (commandline -opc) (commandline -ct)
	$words[1] __complete $words[2..] 2>/dev/null
end
complete -c ebpfctl -a '(__ebpfctl_complete)'
`,
};

export const defineCompletion: DefineCommand = (program, world) => {
  program
    .command("completion")
    .summary("print a script that completes command lines")
    .description(
      "Print a script that lets a shell complete ebpfctl: source <(ebpfctl completion bash), or put it where the shell looks for completions.",
    )
    .argument("<shell>", Object.keys(scripts).join(", "))
    .action((shell) => {
      const script = scripts[shell];
      if (script === undefined)
        throw new Failure(`unsupported shell type "${shell}"; there is ${Object.keys(scripts).join(", ")}`);
      world.out.write(script);
    });
};
