// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Programs that leave a trail: on every packet each takes the next number of `trail[0]` and writes it
 * to `trail[id]`, so that the order in which several ran can be read. -DWIDE makes the records of
 * `stats` wider, -DBROKEN makes the verifier refuse, -DFRAGS takes packets in fragments.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

struct datarec {
	__u64 rx_packets;
	__u64 rx_bytes;
#ifdef WIDE
	__u64 rx_errors;
#endif
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct datarec);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} trail SEC(".maps");

/* Of one load of the program. */
__u64 calls;
__u32 calls_mark = 1;

const volatile __u32 id = 1;
const volatile __u32 verdict = XDP_PASS;
const volatile __s32 tc_verdict = -1;

static __always_inline void leave_trail(void)
{
	__u32 first = 0, own = id;
	__u64 *turn = bpf_map_lookup_elem(&trail, &first);
	__u64 *mark = bpf_map_lookup_elem(&trail, &own);

	if (turn && mark)
		*mark = __sync_fetch_and_add(turn, 1) + 1;
}

static __always_inline void count(__u64 bytes)
{
	__u32 key = 0;
	struct datarec *record = bpf_map_lookup_elem(&stats, &key);

	if (record) {
		__sync_fetch_and_add(&record->rx_packets, 1);
		__sync_fetch_and_add(&record->rx_bytes, bytes);
		calls += calls_mark;
#ifdef VERSION2
		/* Another program with the same maps. */
		if (bytes == 0)
			record->rx_bytes = 0;
#endif
	}
	leave_trail();
}

#ifdef FRAGS
SEC("xdp.frags/pass")
#else
SEC("xdp/pass")
#endif
int pass(struct xdp_md *ctx)
{
#ifdef BROKEN
	return *(__u32 *)(long)ctx->data;
#else
	count(ctx->data_end - ctx->data);
	return verdict;
#endif
}

SEC("xdp/stats")
int xdp_stats(struct xdp_md *ctx)
{
	count(ctx->data_end - ctx->data);
	return verdict;
}

SEC("classifier/classifier")
int tc_pass(struct __sk_buff *skb)
{
	count(skb->len);
	return tc_verdict;
}

SEC("tracepoint/hello")
int hello(void *ctx)
{
	count(0);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
