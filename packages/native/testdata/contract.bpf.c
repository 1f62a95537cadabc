// SPDX-License-Identifier: GPL-2.0-only
/* What kernel-port.contract.ts asks for. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} list SEC(".maps");

struct scratch {
	__u32 mark;
	__u32 first_byte;
	__u32 ifindex;
	__u32 length;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

const volatile __s32 verdict = 2;
const volatile __u32 mark = 0;

static __always_inline int count(__u32 first_byte, __u32 ifindex, __u32 length)
{
	__u32 key = 0;
	__u64 *total = bpf_map_lookup_elem(&counts, &key);
	struct scratch *left = bpf_map_lookup_elem(&scratch, &key);

	if (total)
		__sync_fetch_and_add(total, 1);
	if (left)
		*left = (struct scratch){ mark, first_byte, ifindex, length };
	return verdict;
}

SEC("xdp")
int count_xdp(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	return count(data + 1 > end ? 0 : *data, ctx->ingress_ifindex, end - data);
}

SEC("tc")
int count_tc(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	return count(data + 1 > end ? 0 : *data, skb->ifindex, skb->len);
}

SEC("cgroup/skb")
int count_skb(struct __sk_buff *skb)
{
	__u8 first = 0;

	bpf_skb_load_bytes(skb, 0, &first, 1);
	return count(first, skb->ifindex, skb->len);
}

SEC("raw_tp/sys_enter")
int count_raw(void *ctx)
{
	return count(0, 0, 0);
}

SEC("tp/syscalls/sys_enter_getpgid")
int count_event(void *ctx)
{
	return count(0, 0, 0);
}

SEC("kprobe")
int count_probe(void *ctx)
{
	return count(0, 0, 0);
}

char _license[] SEC("license") = "GPL";
