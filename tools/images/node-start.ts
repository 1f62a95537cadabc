/**
 * How Node is started where it lives long: small. With a young generation of 1 MiB instead of 16, a heap that grows little
 * before it is looked through, two compilers instead of three, and one arena for all threads of which what is free goes
 * back, agent and daemon of 1,000 pods are 60 MiB less. A list of 100,000 prefixes takes 0.3 s longer to plan. What is
 * larger than 16 KiB is mapped alone, so that it goes back at once: between the small pieces that stay V8's compilers leave
 * holes else, 10 MiB of both.
 */
export const smallNode = {
  flags: ["--max-semi-space-size=1", "--optimize-for-size", "--no-maglev"],
  env: { MALLOC_ARENA_MAX: "1", MALLOC_TRIM_THRESHOLD_: "131072", MALLOC_MMAP_THRESHOLD_: "16384" },
} as const;

/** To be put before the script. */
export function smallNodeWords(node: string): readonly string[] {
  const settings = Object.entries(smallNode.env).map(([name, value]) => `${name}=${value}`);
  return ["env", ...settings, node, ...smallNode.flags];
}
