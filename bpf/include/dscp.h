/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writes the DSCP of a packet. */
#pragma once

#include "network.h"

/*
 * RFC 2474: the upper six bits of the traffic class; the lower two are ECN's and stay. `old` is the first word of the
 * header at `offset`, in host order. Returns what that word is now.
 */
static __always_inline __u16 write_dscp(struct __sk_buff *skb, __u32 offset, bool is_ipv4, __u16 old, __u8 dscp)
{
	__u16 fresh = is_ipv4 ? (old & 0xff03) | dscp << 2 : (old & 0xf03f) | dscp << 6;
	__be16 stored = bpf_htons(fresh);

	if (fresh == old)
		return old;
	if (is_ipv4 && bpf_l3_csum_replace(skb, offset + offsetof(struct iphdr, check), bpf_htons(old), stored,
					   sizeof(stored)))
		return old;
	/* IPv4's own checksum balances the change in a sum over the packet; IPv6 has none. */
	bpf_skb_store_bytes(skb, offset, &stored, sizeof(stored), is_ipv4 ? 0 : BPF_F_RECOMPUTE_CSUM);
	return fresh;
}
