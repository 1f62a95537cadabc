import { KernelError } from "@bpfleet/base";
import type { Offer } from "@bpfleet/kernel";
import { parseConfig } from "../config.ts";
import { parseForm } from "../output/parse-form.ts";
import { productVersion } from "../product.ts";
import type { DefineCommand } from "./mod.ts";

interface Versions {
  readonly client: { readonly version: string; readonly node: string };
  daemon?: { readonly version: string; readonly node: string; readonly libbpf: string };
  kernel?: { readonly release: string; readonly offers: Readonly<Record<string, Offer>> };
}

export const defineVersion: DefineCommand = (program, world) => {
  program
    .command("version")
    .summary("print the versions of ebpfctl and the daemon, and what the kernel offers")
    .description(
      "Print the versions of ebpfctl and of the daemon on this node, and what its kernel offers (measured, not guessed).",
    )
    .option("--client", "only ebpfctl itself; asks nobody")
    .option("-o, --output <form>", "json|yaml")
    .action(async (flags, command) => {
      const form = parseForm(flags.output, "json", "yaml");
      const config = parseConfig(command.optsWithGlobals(), world);
      const versions: Versions = { client: { version: productVersion, node: process.version } };
      const failure = flags.client === true ? undefined : await askDaemon(versions, config.socket);
      world.out.write(await render(versions, form));
      if (failure !== undefined) throw failure;
    });
};

/** Fills in what the daemon says; what keeps it from that is told after everything else. */
async function askDaemon(versions: Versions, socket: string): Promise<KernelError | undefined> {
  const { DaemonClient } = await import("@bpfleet/daemon/client");
  using daemon = new DaemonClient(socket);
  try {
    const { version, node, libbpf } = await daemon.version();
    const { facts } = await daemon.state({ withCounters: false });
    const { release, ...offers } = facts.kernel;
    versions.daemon = { version, node, libbpf };
    versions.kernel = { release, offers };
    return undefined;
  } catch (error) {
    if (error instanceof KernelError) return error;
    throw error;
  }
}

async function render(versions: Versions, form: "json" | "yaml" | undefined): Promise<string> {
  if (form === "json") return `${JSON.stringify(versions, undefined, 2)}\n`;
  if (form === "yaml") return (await import("@bpfleet/kinds")).renderYaml(versions);
  const { client, daemon, kernel } = versions;
  const lines = [`Client Version: ${client.version}`];
  if (daemon !== undefined)
    lines.push(`Daemon Version: ${daemon.version} (Node ${daemon.node}, libbpf ${daemon.libbpf})`);
  if (kernel !== undefined) {
    lines.push(`Kernel Version: ${kernel.release}`);
    for (const [name, offer] of Object.entries(kernel.offers))
      lines.push(`  ${name}: ${offer.has ? "yes" : `no: ${offer.why}`}`);
  }
  return `${lines.join("\n")}\n`;
}
