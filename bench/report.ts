import type { MachineFacts } from "./machine.ts";
import type { BenchResult } from "./result.ts";

export interface BenchReport {
  readonly machine: MachineFacts;
  readonly seconds: number;
  readonly isQuick: boolean;
  readonly results: readonly BenchResult[];
  readonly unanswered: readonly { readonly name: string; readonly why: string }[];
}

export function renderMarkdown(report: BenchReport): string {
  const { machine } = report;
  const lines = [
    "# Benchmarks",
    "",
    `Kernel ${machine.kernel}, ${machine.cpus} × ${machine.cpu}, ${machine.memoryGib} GiB, JIT ${machine.jit}, Node ${machine.node},`,
    `${machine.clang}; load at the end ${machine.load}; commit ${machine.commit}; ${machine.at}; ${report.seconds} s.`,
    "Ratios carry over to other machines, absolute figures do not. Targets are reported, they gate nothing.",
    "",
    "| what | ours | unit | peer | peer's | ratio | target |",
    "| --- | ---: | --- | --- | ---: | ---: | --- |",
    ...report.results.map(
      (result) =>
        `| ${result.name} | ${result.value} | ${result.unit} | ${result.peer} | ${result.peerValue} | ${result.ratio} | ${result.target ?? ""} |`,
    ),
  ];
  for (const { name, why } of report.unanswered) lines.push("", `Not answered: ${name}: ${why}`);
  return lines.join("\n") + "\n";
}
