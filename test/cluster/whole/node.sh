#!/bin/bash
# A node: one process, and in it all that a machine has of its own. Whoever kills that process ends
# containerd, the kubelet and every pod, and undoes every mount.
#
#   node.sh join NETNS CGROUPS-FILE SETTINGS    joins the control groups, takes namespaces, becomes init
#   node.sh init SETTINGS                       is its process 1
#   node.sh probe CGROUPS-FILE FOLDER           takes all of that and ends: whether this machine lets it
#
# The settings are shell: name, folder, logs, kubelet, kube_proxy, node_ip, plugins.
# shellcheck disable=SC1090,SC2154
set -eu

join() {
	while read -r group; do echo $$ >"$group/cgroup.procs"; done <"$2"
	exec nsenter --net="$1" unshare --mount --cgroup --uts --ipc --pid --fork --kill-child \
		/bin/bash "$0" init "$3"
}

# The control groups of this node as a machine shows them; the root of each is the group that we joined.
mount_cgroups() {
	local id controllers name
	mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
	while IFS=: read -r id controllers _; do
		name=${controllers#name=}
		[ -n "$name" ] || name=unified
		mkdir -p "/sys/fs/cgroup/$name"
		if [ "$id" = 0 ]; then
			mount -t cgroup2 cgroup2 "/sys/fs/cgroup/$name"
		elif [ "$name" = "$controllers" ]; then
			mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$name"
		else
			mount -t cgroup -o "none,$controllers" cgroup "/sys/fs/cgroup/$name"
		fi
	done </proc/self/cgroup
}

# The kubelet writes these settings of the whole machine unless they are as it wants them: it is shown so.
show_settings() {
	for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
		kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
		file=${setting%=*}
		mkdir -p "/run/shown/$(dirname "$file")"
		echo "${setting#*=}" >"/run/shown/$file"
		mount --bind "/run/shown/$file" "/proc/sys/$file"
	done
}

mount_all() {
	mount --make-rprivate /
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	# As systemd has it.
	mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true
	mount_cgroups
	mount -t bpf bpf /sys/fs/bpf
	mount -t tmpfs -o mode=755 tmpfs /run
	mount -t tmpfs -o mode=755 tmpfs /var/log
	mount --bind "$folder/var-lib" /var/lib
	mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/etc-work" overlay /etc
	show_settings
	mount_plugins
	mount --make-rshared /
}

# Where a node has them; others may add to both.
mount_plugins() {
	mount -t tmpfs -o mode=755 tmpfs /opt
	mkdir -p /opt/cni/bin /etc/cni/net.d
	[ -z "${plugins:-}" ] || ln -s "$plugins"/* /opt/cni/bin/
	[ ! -d "$folder/cni" ] || mount --bind "$folder/cni" /etc/cni/net.d
}

probe() {
	while read -r group; do echo $$ >"$group/cgroup.procs"; done <"$1"
	exec unshare --net --mount --cgroup --uts --ipc --pid --fork --kill-child /bin/bash "$0" try "$2"
}

try() {
	folder=$1
	hostname probe
	mount_all
}

init() {
	. "$1"
	hostname "$name"
	mount_all
	rm -f "$folder/containerd.sock"
	containerd --config "$folder/containerd.toml" >>"$logs/containerd-$name.log" 2>&1 &
	# The kubelet ends at once where the runtime does not answer yet, and is started again as on any machine.
	until ctr --address "$folder/containerd.sock" --namespace k8s.io containers list >/dev/null 2>&1; do sleep 0.1; done
	while :; do run_kubelet; sleep 1; done &
	"$kube_proxy" --config="$folder/kube-proxy.yaml" --hostname-override="$name" >>"$logs/kube-proxy-$name.log" 2>&1 &
	while :; do wait || true; sleep 1; done
}

run_kubelet() {
	"$kubelet" --config="$folder/kubelet.yaml" --kubeconfig="$folder/kubelet.kubeconfig" \
		--hostname-override="$name" --node-ip="$node_ip" --root-dir="$folder/kubelet" \
		--cert-dir="$folder/kubelet/pki" >>"$logs/kubelet-$name.log" 2>&1 || true
}

command=$1
shift
"$command" "$@"
