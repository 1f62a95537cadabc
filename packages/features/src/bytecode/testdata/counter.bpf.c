// SPDX-License-Identifier: GPL-2.0-only
/* Counts by what it was told, and gives the verdict that it was told. -DWIDE makes its records wider. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct record {
	__u64 packets;
	__u64 bytes;
#ifdef WIDE
	__u64 errors;
#endif
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct record);
} stats SEC(".maps");

enum mode { MODE_OFF, MODE_ON };

const volatile __u32 verdict = 2;
const volatile __u8 step = 1;
const volatile char label[16] = "";
const volatile _Bool is_counting = 1;
const volatile enum mode mode = MODE_ON;
const volatile __u16 ports[4] = {};

static __always_inline int count(__u64 bytes)
{
	__u32 key = label[0] == 'b';
	struct record *record = bpf_map_lookup_elem(&stats, &key);

	if (record && is_counting && mode == MODE_ON && ports[3] != 1) {
		__sync_fetch_and_add(&record->packets, step);
		__sync_fetch_and_add(&record->bytes, bytes);
	}
	return verdict;
}

SEC("xdp/pass")
int pass_xdp(struct xdp_md *ctx)
{
	return count(ctx->data_end - ctx->data);
}

SEC("classifier/pass")
int pass_tc(struct __sk_buff *skb)
{
	return count(skb->len);
}

SEC("cgroup_skb/egress")
int pass_skb(struct __sk_buff *skb)
{
	return count(skb->len);
}

SEC("raw_tp/sys_enter")
int count_calls(void *ctx)
{
	return count(0);
}

#ifdef BROKEN
SEC("xdp/broken")
int broken(struct xdp_md *ctx)
{
	return *(__u32 *)(long)ctx->data;
}
#endif

char _license[] SEC("license") = "GPL";
