#!/bin/sh
# Installs what bpfleet is built and run with, and builds it: system packages, Node and the npm
# packages of the lockfile, the native addon, the BPF objects. Each step is skipped when it is up to
# date, so that a second run takes well under a second. Used by make setup, demo, test and bench; with
# the word "bench" it installs the programs that we are measured against as well, with "test" the
# registry that images are pulled from, what Kubernetes is built with and a node of it consists of, and what
# tests talk and count packets with.
set -eu
cd "$(dirname "$0")/.."

purpose=${1:-}
logs=build/logs
stamps=build/stamps
oldest_cargo=1.88
oldest_node=24.15
# Users other than root often have no sbin in their PATH, but bpftool and ip are there.
bin=$PWD/node_modules/.bin
system_path=$(echo "$PATH:/usr/local/sbin:/usr/sbin:/sbin" | sed "s|$bin:||g")
PATH=$bin:$system_path
export PATH

# What is looked for (a command, or a file by its path) and the package that brings it.
needs() {
	cat <<-'END'
		# looked for             apt             dnf                     pacman            apk
		clang                    clang           clang                   clang             clang
		make                     make            make                    make              make
		gcc                      gcc             gcc                     gcc               gcc
		/usr/include/stdio.h     libc6-dev       glibc-devel             glibc             musl-dev
		/usr/include/linux/bpf.h linux-libc-dev  kernel-headers          linux-api-headers linux-headers
		pkg-config               pkg-config      pkgconf-pkg-config      pkgconf           pkgconf
		/usr/include/libelf.h    libelf-dev      elfutils-libelf-devel   libelf            elfutils-dev
		/usr/include/zlib.h      zlib1g-dev      zlib-devel              zlib              zlib-dev
		ip                       iproute2        iproute                 iproute2          iproute2
		tc                       iproute2        iproute-tc              iproute2          iproute2
		bpftool                  bpftool         bpftool                 bpf               bpftool
		ping                     iputils-ping    iputils                 iputils           iputils
		sysctl                   procps          procps-ng               procps-ng         procps
		openssl                  openssl         openssl                 openssl           openssl
		unshare                  util-linux      util-linux              util-linux        util-linux
		/etc/ssl/certs           ca-certificates ca-certificates         ca-certificates   ca-certificates
	END
	[ "$purpose" != test ] || cat <<-'END'
		docker-registry          docker-registry -                       -                 docker-registry
		go                       golang-go       golang                  go                go
		containerd               containerd      containerd              containerd        containerd
		runc                     runc            runc                    runc              runc
		iptables                 iptables        iptables                iptables          iptables
		nft                      nftables        nftables                nftables          nftables
		nc                       netcat-openbsd  netcat                  openbsd-netcat    netcat-openbsd
		/bin/busybox             busybox-static  busybox                 busybox           busybox-static
	END
	[ "$purpose" = bench ] || return 0
	cat <<-'END'
		xdp-filter               xdp-tools       xdp-tools               xdp-tools         xdp-tools
		nft                      nftables        nftables                nftables          nftables
		iptables                 iptables        iptables-nft            iptables          iptables
		ipset                    ipset           ipset                   ipset             ipset
		ethtool                  ethtool         ethtool                 ethtool           ethtool
	END
}

fail() {
	printf 'setup: %s\n' "$1" >&2
	exit 1
}

# Runs a step quietly: one line with its time, or the end of its log.
step() {
	name=$1 log=$logs/$2.log
	shift 2
	printf '  %-18s ' "$name"
	begin=$(date +%s)
	if "$@" >"$log" 2>&1 </dev/null 9>&-; then
		printf 'done in %s s\n' $(($(date +%s) - begin))
		return
	fi
	printf 'failed after %s s; the end of %s:\n\n' $(($(date +%s) - begin)) "$log"
	tail -n 20 "$log"
	exit 1
}

# Is version $1 (major.minor…) at least $2?
is_at_least() {
	[ "${1%%.*}" -gt "${2%%.*}" ] && return
	minor=${1#*.}
	[ "${1%%.*}" -eq "${2%%.*}" ] && [ "${minor%%.*}" -ge "${2#*.}" ]
}

# Prints the first cargo that is new enough.
find_cargo() {
	for dir in $(echo "$PATH" | tr : ' ') "$HOME/.cargo/bin" /usr/bin; do
		[ -x "$dir/cargo" ] || continue
		version=$("$dir/cargo" --version 2>/dev/null | cut -d' ' -f2)
		[ -n "$version" ] && is_at_least "$version" $oldest_cargo && echo "$dir/cargo" && return
	done
	return 1
}

find_manager() {
	for manager in apt-get dnf pacman apk; do
		command -v $manager >/dev/null && echo $manager && return
	done
	echo none
}

missing_packages() {
	case $manager in
	apt-get) column=2 ;; dnf) column=3 ;; pacman) column=4 ;; *) column=5 ;;
	esac
	needs | while read -r sought packages; do
		case $sought in
		'#') continue ;;
		/*) [ -e "$sought" ] && continue ;;
		*) command -v "$sought" >/dev/null && continue ;;
		esac
		echo "$packages" | awk -v column=$((column - 1)) '$column != "-" { print $column }'
	done
	command -v npm >/dev/null || case $manager in
	apt-get | apk | pacman) echo nodejs npm ;;
	*) echo nodejs nodejs-npm ;;
	esac
	has_cargo || case $manager in
	apt-get) debian_cargo ;;
	pacman) echo rust ;;
	*) echo cargo ;;
	esac
}

has_cargo() {
	[ -x "$(cat $stamps/cargo 2>/dev/null)" ] && return
	find_cargo >$stamps/cargo
}

# Debian 12 keeps a current Rust, made for the browsers, beside its own of 2022.
debian_cargo() {
	if apt-cache show cargo-web >/dev/null 2>&1 || grep -qs '^VERSION_ID="12"' /etc/os-release; then
		echo cargo-web rustc-web
	else
		echo cargo
	fi
}

install_command() {
	case $manager in
	apt-get) echo "apt-get install -y --no-install-recommends $*" ;;
	dnf) echo "dnf install -y $*" ;;
	pacman) echo "pacman -S --noconfirm --needed $*" ;;
	apk) echo "apk add $*" ;;
	esac
}

install_packages() {
	if [ "$manager" = apt-get ]; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get -o DPkg::Lock::Timeout=300 update
		apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
		# Debian starts what it installs; the tests run a registry of their own.
		for service in docker-registry containerd; do
			case " $* " in *" $service "*) systemctl disable --now $service || true ;; esac
		done
	else
		eval "$(install_command "$@")"
	fi
}

setup_system() {
	manager=$(find_manager)
	missing=$(missing_packages | tr ' ' '\n' | sort -u | tr '\n' ' ')
	[ -z "$missing" ] && return
	missing=${missing% }
	if [ "$manager" = none ]; then
		fail "install what is missing: no package manager known here (apt, dnf, pacman, apk); by Debian's names: $missing"
	fi
	if [ "$(id -u)" -ne 0 ]; then
		fail "install what is missing: only root may; run: sudo $(install_command "$missing")"
	fi
	# shellcheck disable=SC2086 # one word a package
	step "system packages" system install_packages $missing
	has_cargo || fail "find cargo $oldest_cargo or newer: this distribution has none; install one with rustup"
}

# npm 7 is the first that reads our lockfile; an older one can fetch a newer npm. Each runs on the Node
# of the system, which it was made for: that of Debian finds its own modules with no other.
run_npm() (
	PATH=$system_path
	if is_at_least "$(npm --version)" 7.0; then
		npm "$@"
	else
		npm install --no-save --prefix build/npm npm@8 && node build/npm/node_modules/npm/bin/npm-cli.js "$@"
	fi
)

setup_npm() {
	stamp=$(cksum package-lock.json .npmrc)
	[ "$stamp" = "$(cat node_modules/.stamp 2>/dev/null)" ] && return
	step "npm packages" npm run_npm ci
	# npm 9 leaves out the link to a command that is called node.
	for node in node_modules/node-linux-*/bin/node; do
		[ -x "$node" ] && ln -sf "../../$node" node_modules/.bin/node
	done
	echo "$stamp" >node_modules/.stamp
}

# The lockfile brings Node for Linux on x86-64 and arm64, made for glibc; elsewhere the system's must do.
check_node() {
	hash -r # the shell may still remember another node
	version=$(node --version 2>/dev/null) || version=v0.0
	is_at_least "${version#v}" $oldest_node && return
	fail "find Node $oldest_node or newer: npm brought none for $(uname -m) and the system's is ${version#v}; install one"
}

# Is anything in the given paths newer than the last time that the step of this name was done?
has_changed() {
	stamp=$stamps/$1
	shift
	[ -e "$stamp" ] || return 0
	[ -n "$(find "$@" \( -type d -o -name '*.rs' -o -name '*.[ch]' -o -name 'Cargo.*' -o -name 'build-*.ts' -o -name 'cargo.ts' \) \
		-newer "$stamp" -print -quit)" ]
}

setup_native() {
	has_changed native tools/build-native.ts tools/cargo.ts packages/native || return 0
	step "native addon" native env PATH="$bin:$(dirname "$(cat $stamps/cargo)"):$PATH" node tools/build-native.ts
	touch $stamps/native
}

setup_cni() {
	has_changed cni tools/build-cni.ts tools/cargo.ts packages/cni || return 0
	step "CNI plug-in" cni env PATH="$bin:$(dirname "$(cat $stamps/cargo)"):$PATH" node tools/build-cni.ts
	touch $stamps/cni
}

setup_bpf() {
	has_changed bpf tools/build-bpf.ts bpf packages/*/src build/include || return 0
	step "BPF objects" bpf node tools/build-bpf.ts
	touch $stamps/bpf
}

refuse_foreign_files() {
	[ "$(id -u)" -eq 0 ] && return
	[ -z "$(find build node_modules -maxdepth 2 ! -user "$(id -u)" -print -quit 2>/dev/null)" ] && return
	fail "write to build and node_modules: they hold files of another user; run: sudo chown -R $(id -un) build node_modules"
}

# Two at once would install and build the same at the same places. What a step leaves running does not hold it.
lock() {
	command -v flock >/dev/null || return 0
	exec 9>build/setup.lock
	flock -n 9 && return
	echo 'setup: another one is at work here; waiting for its end'
	flock 9
}

refuse_foreign_files
mkdir -p $logs $stamps
lock
setup_system
setup_npm
check_node
setup_native
setup_cni
setup_bpf
