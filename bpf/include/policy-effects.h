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

/*
 * False when the burst is used up. What is more than a whole burst passes by a full bucket, since the kernel joins
 * packets. At the limit each CPU may let one more pass at once, which is charged.
 */
static __always_inline bool take_bytes(const struct rule_effect *effect, __u32 bytes, struct work *work)
{
	__u64 now_ns = bpf_ktime_get_ns(), cost = time_of(bytes, effect->bits_per_second), until;
	__u64 *full_at;

	work->rate = (struct rate_key){ .ifindex = work->view.key.ifindex, .rule_id = effect->rule_id };
	full_at = bpf_map_lookup_elem(&rates, &work->rate);
	until = full_at ? *(volatile __u64 *)full_at : 0;
	if (until > now_ns) {
		if (until + cost > now_ns + time_of(effect->burst_bytes, effect->bits_per_second)) {
			catch_up(full_at, until, now_ns, effect->burst_bytes, effect->bits_per_second);
			return false;
		}
		if (!dry_run)
			__sync_fetch_and_add(full_at, cost);
		return true;
	}
	work->high = now_ns + cost;
	if (!dry_run)
		bpf_map_update_elem(&rates, &work->rate, &work->high, BPF_ANY);
	return true;
}

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
	if (!effect->bits_per_second || (work->opened == FLOW_EGRESS) != work->leaves)
		return 1;
	return take_bytes(effect, skb->len, work);
}
