/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a rule does to packets that it lets pass: how many bytes each second, and with which mark. */
#pragma once

#include "dscp.h"
#include "policy-bandwidth.h"
#include "policy-source.h"

/* Some rule of the table has effects. */
const volatile bool has_effects;
/* One of them is a mark. */
const volatile bool marks_packets;

/*
 * The time at which the bucket of an endpoint and rule will be full again, as in token-bucket.h. A packet moves it on by
 * what its bytes take at the rule's rate.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct rate_key);
	__type(value, __u64);
	__uint(max_entries, 1); /* from user space */
} rates SEC(".maps");

/* For this node's own routes, queues and filters, and for those on the way. */
static __always_inline void mark_packet(struct __sk_buff *skb, __u32 mark, const struct packet_view *view)
{
	__u32 offset = view->network_at;
	__be16 word;

	skb->mark = mark;
	if (!bpf_skb_load_bytes(skb, offset, &word, sizeof(word)))
		write_dscp(skb, offset, !view->is_ipv6, bpf_ntohs(word), mark & 63);
}

/*
 * Of a rule of the table that judged the packet in hand. 0: it is over the limit, which is of packets in the rule's own
 * direction. A function that is global, so that the verifier follows it once.
 */
__noinline int apply_effects(struct __sk_buff *skb, __u32 rule)
{
	struct work *work = work_in_hand();
	const struct policy_annex *annex;
	const struct rule_effect *effect;
	struct table_view in_force;

	/* After an edit in between it is the next packet's. */
	if (!work || !open_table(&in_force) || in_force.header->serial != work->serial)
		return 1;
	annex = annex_of(&in_force);
	if (!annex || !annex->effects || rule / 2 >= annex->effect_lines)
		return 1;
	effect = line_at(&in_force, annex->effects + rule / 2);
	if (!effect)
		return 1;
	effect += rule & 1;
	if (marks_packets && effect->flags & EFFECT_MARKS && !dry_run)
		mark_packet(skb, effect->mark, &work->view);
	if (!effect->pace.byte_time || (work->opened == FLOW_EGRESS) != work->leaves)
		return 1;
	work->rate = (struct rate_key){ .ifindex = work->view.key.ifindex, .rule_id = effect->rule_id };
	return take_bytes(bucket_of(&rates, &work->rate, &work->high), skb->len, &effect->pace);
}
