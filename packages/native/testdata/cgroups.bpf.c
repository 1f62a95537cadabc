// SPDX-License-Identifier: GPL-2.0-only
/* One program that lets everything through for each way to attach to a cgroup. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define ALLOW(section, name, context)    \
	SEC(section)                     \
	int name(struct context *ctx)    \
	{                                \
		return 1;                \
	}

ALLOW("cgroup_skb/ingress", ingress, __sk_buff)
ALLOW("cgroup_skb/egress", egress, __sk_buff)
ALLOW("cgroup/dev", device, bpf_cgroup_dev_ctx)
ALLOW("sockops", sock_ops, bpf_sock_ops)
ALLOW("cgroup/sock_create", sock_create, bpf_sock)
ALLOW("cgroup/connect4", connect4, bpf_sock_addr)
ALLOW("cgroup/connect6", connect6, bpf_sock_addr)

char _license[] SEC("license") = "GPL";
