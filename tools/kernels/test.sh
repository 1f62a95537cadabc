#!/bin/sh
# test.sh [KERNEL...]: the tests of test/kernels and of the chain, then whether the programs of policy load and judge,
# in other kernels than this machine's, one after another, each time in an emulated machine of its own. Installs and
# fetches what is missing. A kernel is named SUITE:VERSION-PREFIX, after the Debian release that has it.
set -eu
cd "$(dirname "$0")/../.."
here=tools/kernels
cache=${KM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernel-matrix}
# Files whose path contains one of these run; KM_FILES chooses others, and no policy.
files=${KM_FILES:-test/kernels/ packages/native/src/chain.kernel}
limit=${KM_LIMIT:-1500}
policy=packages/features/src/policy/policy-verifier.kernel
policy_limit=${KM_POLICY_LIMIT:-900}
[ $# -gt 0 ] || set -- bullseye-security:5.10 bookworm: bookworm-security:6.12

missing=
for pair in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static modprobe:kmod xz:xz-utils zstd:zstd python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
	install="apt-get install -y --no-install-recommends$missing"
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "test-kernels: install what is missing:$missing; on Debian as root: $install" >&2
		exit 1
	fi
	apt-get update -qq && $install >/dev/null
fi

mkdir -p build/kernels build/compile-cache
passed=0 failed=0
# run NAME LOG LIMIT FILE...: the files in an emulated machine; counts what passed and failed.
run() {
	name=$1 log=build/kernels/$2.log seconds=$3 begin=$(date +%s)
	shift 3
	# One CPU: emulated ones run stale code of the XDP dispatcher of 6.12 when another CPU swaps it.
	# What Node compiled is written through: the first run in a kernel is several times slower.
	"$here/vm-run.sh" -c 1 -m 1500 -t "$seconds" -w build/compile-cache "$name" \
		sh -c 'PATH=$PWD/node_modules/.bin:$PATH NODE_COMPILE_CACHE=$PWD/build/compile-cache
			export PATH NODE_COMPILE_CACHE
			exec node tools/test.ts kernel "$@" --types=skip' sh "$@" >"$log" 2>&1 && rc=0 || rc=$?
	sed 's/^/  /' "$log"
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
	if [ -z "$line" ]; then
		echo "  ✗ no test ended (exit code $rc)"
		failed=$((failed + 1))
		return
	fi
	passed=$((passed + $(echo "$line" | cut -d' ' -f1)))
	failed=$((failed + $(echo "$line" | cut -d' ' -f3)))
	echo "  in $(($(date +%s) - begin)) s"
}

for kernel; do
	suite=${kernel%%:*} prefix=${kernel#*:}
	[ "$prefix" != "$kernel" ] || prefix=
	guest=$suite${prefix:+-$prefix}-amd64
	[ -s "$cache/$guest/release" ] || "$here/fetch-kernel.sh" "$suite" "$prefix"
	echo "▸ $(cat "$cache/$guest/release")"
	run "$guest" "$guest" "$limit" $files
	[ -n "${KM_FILES:-}" ] || run "$guest" "$guest-policy" "$policy_limit" "$policy"
done
echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
