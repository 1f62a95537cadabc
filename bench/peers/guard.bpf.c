// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Drops and counts the frames of the benchmark; what reaches the program behind it went unfiltered. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ETH_P_BENCH 0x88b5

enum place { MET, UNFILTERED, PLACE_COUNT };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PLACE_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} frames SEC(".maps");

const volatile __u32 generation = 0;

static __always_inline void count(__u32 place)
{
	__u64 *number = bpf_map_lookup_elem(&frames, &place);

	if (number)
		(*number)++;
}

SEC("xdp")
int guard(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_BENCH))
		return generation == 0xffffffff ? XDP_ABORTED : XDP_PASS;
	count(MET);
	return XDP_DROP;
}

SEC("tc")
int behind(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_BENCH))
		count(UNFILTERED);
	return 0;
}
