// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Makes every run of a test another flow, and hands the packet on. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

static __u32 turn;

SEC("tc")
int other_flow(struct __sk_buff *skb)
{
	void *end = (void *)(long)skb->data_end;
	struct iphdr *ip = (void *)(long)skb->data + sizeof(struct ethhdr);

	if ((void *)(ip + 1) > end)
		return TCX_DROP;
	ip->daddr = bpf_htonl(0xc6000000 | (turn++ & 0xffffff));
	bpf_tail_call(skb, &next, 0);
	return TCX_DROP;
}
