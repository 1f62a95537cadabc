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
ALLOW("cgroup/sock_release", sock_release, bpf_sock)
ALLOW("cgroup/bind4", bind4, bpf_sock_addr)
ALLOW("cgroup/bind6", bind6, bpf_sock_addr)
ALLOW("cgroup/post_bind4", post_bind4, bpf_sock)
ALLOW("cgroup/post_bind6", post_bind6, bpf_sock)
ALLOW("cgroup/sendmsg4", sendmsg4, bpf_sock_addr)
ALLOW("cgroup/sendmsg6", sendmsg6, bpf_sock_addr)
ALLOW("cgroup/recvmsg4", recvmsg4, bpf_sock_addr)
ALLOW("cgroup/recvmsg6", recvmsg6, bpf_sock_addr)
ALLOW("cgroup/getpeername4", getpeername4, bpf_sock_addr)
ALLOW("cgroup/getpeername6", getpeername6, bpf_sock_addr)
ALLOW("cgroup/getsockname4", getsockname4, bpf_sock_addr)
ALLOW("cgroup/getsockname6", getsockname6, bpf_sock_addr)
ALLOW("cgroup/getsockopt", getsockopt, bpf_sockopt)
ALLOW("cgroup/setsockopt", setsockopt, bpf_sockopt)
ALLOW("cgroup/sysctl", sysctl, bpf_sysctl)

char _license[] SEC("license") = "GPL";
