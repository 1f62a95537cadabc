#!/bin/sh
# Runs the demo in namespaces of its own (mount, network, process): when the demo ends, however it
# ends, the kernel takes its interfaces, mounts, programs and processes away with the namespaces.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
if [ "$(id -u)" -ne 0 ]; then
	echo "make demo: needs root for network namespaces and BPF; run: sudo make demo" >&2
	exit 1
fi
node=$here/node_modules/.bin/node
mkdir -p "$here/build"
echo $$ >"$here/build/demo.pid"
# With --kill-child the kernel ends process 1 of the namespace, and so all in it, when unshare ends.
exec unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
	sh -eu -c '
		mount -t tmpfs -o mode=0755 bpfleet-demo /run
		mkdir -p /run/netns /run/bpfd /run/bpfleet-demo
		mount -t bpf -o mode=0700 bpf /sys/fs/bpf
		export BPFLEET_STORE=/run/bpfleet-demo/objects BPFLEET_STATE=/run/bpfleet-demo/state
		exec "$@"
	' sh "$node" "$here/demo/main.ts" "$@"
