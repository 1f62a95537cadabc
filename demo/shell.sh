#!/bin/sh
# Opens a shell inside a demo that `make demo ARGS=--keep` left up.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
pid=$(cat "$here/build/demo.pid" 2>/dev/null) || pid=
inside=$(cat "/proc/${pid:-none}/task/${pid:-none}/children" 2>/dev/null) || inside=
if [ -z "$inside" ]; then
	echo "make demo-shell: no demo is up; start one with: make demo ARGS=--keep" >&2
	exit 1
fi
export BPFLEET_STORE=/run/bpfleet-demo/objects BPFLEET_STATE=/run/bpfleet-demo/state
cd "$here"
exec nsenter --target "${inside%% *}" --mount --net --pid --wd="$here" "${SHELL:-/bin/sh}" "$@"
