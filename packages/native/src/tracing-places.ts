import { existsSync, readFileSync, statSync } from "node:fs";
import { placeOf, type TracingPoint } from "@bpfleet/kernel";
import { BpfError, BpfLink, type BpfProgram, type Target } from "./binding.ts";
import { openElf } from "./elf.ts";
import { hasCode, kernelError, refusal } from "./kernel-error.ts";
import { replacePin } from "./pins.ts";

/** Where the kernel is told to attach; throws not-found and not-supported with what helps. */
function tracingTarget(point: TracingPoint): Target {
  const what = `attach to ${point.hook} ${placeOf(point)}`;
  switch (point.hook) {
    case "tracepoint":
      requireEvents(what);
      return { tracepoint: point.name };
    case "raw_tracepoint":
      return { rawTracepoint: point.name };
    case "kprobe":
    case "kretprobe":
      if (!existsSync("/sys/bus/event_source/devices/kprobe")) {
        const said = "this kernel has no kprobes (CONFIG_KPROBE_EVENTS); use a tracepoint";
        throw refusal(what, said, "not-supported", "PERF_EVENT_OPEN");
      }
      return { kprobe: point.function, offset: point.offset, isReturn: point.hook === "kretprobe" };
    case "uprobe":
    case "uretprobe": {
      if (!existsSync("/sys/bus/event_source/devices/uprobe")) {
        const said = "this kernel has no uprobes (CONFIG_UPROBE_EVENTS)";
        throw refusal(what, said, "not-supported", "PERF_EVENT_OPEN");
      }
      const offset = fileOffset(point, what) + point.offset;
      return { uprobe: point.binary, offset, isReturn: point.hook === "uretprobe" };
    }
    case "fentry":
    case "fexit":
      return { tracing: point.function };
  }
}

/** By stat, not by access(2) as existsSync does: to that a process without root has no capabilities. */
function requireEvents(what: string): void {
  const codes = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].map((root) => {
    try {
      statSync(`${root}/events`);
      return "";
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    }
  });
  if (codes.includes("")) return;
  const said = codes.includes("EACCES")
    ? "tracefs is closed to this user (EACCES); run as root, or with CAP_DAC_READ_SEARCH"
    : "tracefs is not mounted; mount -t tracefs tracefs /sys/kernel/tracing";
  throw refusal(what, said, "not-supported", "OPEN");
}

/** A program is at these by a perf event, which an older kernel keeps only as long as a process has it open. */
const byEvent: readonly TracingPoint["hook"][] = ["tracepoint", "kprobe", "kretprobe", "uprobe", "uretprobe"];

function fileOffset(point: Extract<TracingPoint, { binary: string }>, what: string): number {
  if (!existsSync(point.binary)) throw refusal(what, "there is no such file (ENOENT)", "not-found", "OPEN");
  if (point.function === "") return 0;
  const elf = openElf(readFileSync(point.binary));
  if (elf === undefined) throw refusal(what, "it is no 64-bit ELF file", "invalid", "OPEN");
  const offset = elf.findFunction(point.function);
  if (offset === undefined) {
    const said = `it has no function ${point.function}; a stripped binary names none: give the offset in the file`;
    throw refusal(what, said, "not-found", "OPEN");
  }
  return offset;
}

/**
 * Attaches the program, and only then lets the earlier link go: such links take no other program, and so
 * for a moment both watch.
 */
export async function setTracingLink(
  point: TracingPoint,
  program: BpfProgram,
  pin: string,
  what: string,
): Promise<void> {
  const target = tracingTarget(point);
  await using before = openIfThere(pin);
  if (before?.info.programId === program.info.id) return;
  try {
    await using link = await program.attach(target);
    replacePin(link, pin);
  } catch (error) {
    if (hasCode(error, "not-found") && point.hook === "tracepoint")
      throw kernelError(what, error, { said: `there is no tracepoint ${point.name} on this node` });
    if (hasCode(error, "not-found") && point.hook === "raw_tracepoint")
      throw kernelError(what, error, { said: `there is no raw tracepoint ${point.name} on this node` });
    if (
      error instanceof BpfError &&
      error.op === "attach" &&
      byEvent.includes(point.hook) &&
      hasCode(error, "invalid")
    ) {
      const said =
        "this kernel refuses the link; before Linux 5.15 there are none at tracepoints, kprobes and uprobes: use a raw tracepoint, or fentry";
      throw kernelError(what, error, { code: "not-supported", said });
    }
    if (point.hook === "kprobe" || point.hook === "kretprobe") {
      if (hasCode(error, "not-found"))
        throw kernelError(what, error, { said: `this kernel has no function ${point.function} that can be probed` });
      if (hasCode(error, "invalid")) {
        const place = `${point.function}${point.offset > 0 ? `+${point.offset}` : ""}`;
        throw kernelError(what, error, { said: `this kernel lets no program be attached to ${place}` });
      }
    }
    throw error;
  }
}

function openIfThere(pin: string): BpfLink | undefined {
  try {
    return BpfLink.openPinned(pin);
  } catch (error) {
    if (hasCode(error, "not-found")) return undefined;
    throw error;
  }
}
