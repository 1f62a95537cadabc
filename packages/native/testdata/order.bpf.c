// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Programs that write down in which order they run, for tc and for the other hooks.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define TCX_NEXT_ACTION (-1)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} trail SEC(".maps");

__u32 steps = 0;

static __always_inline int step(__u32 name)
{
	__u32 at = steps++ & 15;

	bpf_map_update_elem(&trail, &at, &name, BPF_ANY);
	return TCX_NEXT_ACTION;
}

SEC("tcx/ingress")
int tc_a(struct __sk_buff *skb)
{
	return step('a');
}

SEC("tcx/ingress")
int tc_b(struct __sk_buff *skb)
{
	return step('b');
}

SEC("tcx/ingress")
int tc_c(struct __sk_buff *skb)
{
	return step('c');
}

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	step('e');
	return 1;
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *sock)
{
	step('s');
	return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *address)
{
	step('4');
	return 1;
}

SEC("sockops")
int on_sockops(struct bpf_sock_ops *ops)
{
	return 1;
}

SEC("cgroup/dev")
int on_device(struct bpf_cgroup_dev_ctx *ctx)
{
	return 1;
}

SEC("cgroup/sysctl")
int on_sysctl(struct bpf_sysctl *ctx)
{
	return 1;
}

SEC("sk_lookup")
int lookup(struct bpf_sk_lookup *ctx)
{
	step('l');
	return SK_PASS;
}

SEC("raw_tracepoint/sys_enter")
int on_raw(void *ctx)
{
	return 0;
}

SEC("tracepoint/sched/sched_switch")
int on_switch(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
