import { execFileSync } from "node:child_process";

/** Milliseconds that each of `rounds` takes to load an object and attach its XDP program to a device. */
export function timeBpftoolAttach(netns: string, device: string, object: string, rounds: number): readonly number[] {
  const script = `mount -t bpf bpf /sys/fs/bpf
for round in $(seq ${rounds}); do
	start=$(date +%s%N)
	bpftool prog load ${object} /sys/fs/bpf/peer type xdp
	bpftool net attach xdp pinned /sys/fs/bpf/peer dev ${device}
	echo $(($(date +%s%N) - start))
	bpftool net detach xdp dev ${device}
	rm /sys/fs/bpf/peer
done`;
  const printed = execFileSync("nsenter", [`--net=/run/netns/${netns}`, "unshare", "--mount", "sh", "-ec", script], {
    encoding: "utf8",
  });
  return printed
    .trim()
    .split("\n")
    .map((ns) => Number(ns) / 1e6);
}
