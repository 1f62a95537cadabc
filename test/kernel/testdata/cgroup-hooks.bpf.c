// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program for each hook of a cgroup. Each counts, and answers `answer`: 1 allows. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

const volatile __u32 answer = 1;

static __always_inline int count(void)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&calls, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 1;
}

/* Of hooks that may refuse. */
#define ANSWERS(section, name, context) \
	SEC(section) int name(context *ctx) { count(); return answer ? 1 : 0; }
/* Of hooks that only watch. */
#define WATCHES(section, name, context) \
	SEC(section) int name(context *ctx) { return count(); }

ANSWERS("cgroup_skb/ingress", skb_ingress, struct __sk_buff)
ANSWERS("cgroup_skb/egress", skb_egress, struct __sk_buff)
ANSWERS("cgroup/dev", device, struct bpf_cgroup_dev_ctx)
ANSWERS("cgroup/sock_create", sock_create, struct bpf_sock)
WATCHES("cgroup/sock_release", sock_release, struct bpf_sock)
ANSWERS("cgroup/post_bind4", post_bind4, struct bpf_sock)
ANSWERS("cgroup/post_bind6", post_bind6, struct bpf_sock)
ANSWERS("cgroup/connect4", connect4, struct bpf_sock_addr)
ANSWERS("cgroup/connect6", connect6, struct bpf_sock_addr)
ANSWERS("cgroup/bind4", bind4, struct bpf_sock_addr)
ANSWERS("cgroup/bind6", bind6, struct bpf_sock_addr)
ANSWERS("cgroup/sendmsg4", sendmsg4, struct bpf_sock_addr)
ANSWERS("cgroup/sendmsg6", sendmsg6, struct bpf_sock_addr)
WATCHES("cgroup/recvmsg4", recvmsg4, struct bpf_sock_addr)
WATCHES("cgroup/recvmsg6", recvmsg6, struct bpf_sock_addr)
WATCHES("cgroup/getpeername4", getpeername4, struct bpf_sock_addr)
WATCHES("cgroup/getpeername6", getpeername6, struct bpf_sock_addr)
WATCHES("cgroup/getsockname4", getsockname4, struct bpf_sock_addr)
WATCHES("cgroup/getsockname6", getsockname6, struct bpf_sock_addr)
ANSWERS("cgroup/setsockopt", setsockopt, struct bpf_sockopt)
ANSWERS("cgroup/getsockopt", getsockopt, struct bpf_sockopt)
ANSWERS("cgroup/sysctl", sysctl, struct bpf_sysctl)
WATCHES("sockops", sock_ops, struct bpf_sock_ops)

char _license[] SEC("license") = "Dual BSD/GPL";
