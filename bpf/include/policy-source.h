/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether what an endpoint sends has an address of its own as its source, and whom it may ask for neighbours. */
#pragma once

#include "policy-lookup.h"

static __always_inline void local_words(const struct packet_view *view, __u64 *high, __u64 *low)
{
	const struct flow_key *key = &view->key;

	*high = (__u64)bpf_ntohl(key->local_high[0]) << 32 | bpf_ntohl(key->local_high[1]);
	*low = (__u64)(bpf_ntohl(key->local_high[2]) | ((view->is_ipv6 & 1) - 1U & 0xffff)) << 32 |
	       bpf_ntohl(key->local_low);
}

static __always_inline bool is_in_owners(const struct table_view *table, const struct policy_annex *annex,
					 __u32 owner, __u64 high, __u64 low)
{
	__u32 line = annex->owners +
		     (policy_hash_address(table->header->hash_seed, high, low, owner) & annex->owner_mask);
	__u32 found = 0;

#pragma clang loop unroll(disable)
	for (int lines = 0; lines < POLICY_BUCKET_LINES; lines++) {
		const struct address_bucket *bucket = line_at(table, line);

		if (!bucket)
			break;
#pragma unroll
		for (int way = 0; way < ADDRESS_WAYS; way++)
			found |= all_if_zero((bucket->low[way] ^ low) | (bucket->high[way] ^ high) |
					     (bucket->entries[way] ^ owner));
		line = bucket->next;
		if (!line)
			break;
	}
	return found;
}

/* Nobody's: before there is an address, and on the link alone. */
static __always_inline bool is_of_link(bool is_ipv6, __u64 high, __u64 low)
{
	if (is_ipv6)
		return (high | low) == 0 || high >> 54 == 0xfe80 >> 6;
	return (__u32)low == 0 || (__u32)low >> 16 == 0xa9fe;
}

/* To several on the link, or to one that has an address of it alone. */
static __always_inline bool goes_to_link(bool is_ipv6, __u64 high, __u64 low)
{
	if (is_of_link(is_ipv6, high, low))
		return true;
	return is_ipv6 ? high >> 56 == 0xff : (__u32)low >> 28 == 0xe || (__u32)low == 0xffffffff;
}

static __always_inline const struct policy_annex *annex_of(const struct table_view *table)
{
	return line_at(table, 1);
}

/* False: the source is not among those that the endpoint is known to have. `high` and `low` are free afterwards. */
static __always_inline bool has_own_source(const struct table_view *table, __u32 ifindex, struct work *work)
{
	const struct policy_annex *annex = annex_of(table);
	bool is_ipv6 = work->view.is_ipv6;

	local_words(&work->view, &work->high, &work->low);
	if (!annex || is_in_owners(table, annex, ifindex, work->high, work->low))
		return true;
	if (is_of_link(is_ipv6, work->high, work->low)) {
		/* Others would take it for somebody of the world. */
		remote_words(&work->view, &work->high, &work->low);
		return goes_to_link(is_ipv6, work->high, work->low);
	}
	return !is_in_owners(table, annex, ifindex | OWNER_OF_MORE, 0, is_ipv6 ? 0 : 0xffff00000000ULL);
}

/*
 * What the endpoint sends to find neighbours stays on its link: it is for groups, for addresses of the link, or for
 * some of the same 64 bits as one of its own.
 */
static __always_inline bool stays_on_link(struct work *work)
{
	struct table_view in_force;
	const struct policy_annex *annex;

	if (!work->view.is_ipv6)
		return true;
	remote_words(&work->view, &work->high, &work->low);
	if (work->high >> 56 == 0xff || is_of_link(true, work->high, work->low) || !open_table(&in_force))
		return true;
	annex = annex_of(&in_force);
	if (!annex || !is_in_owners(&in_force, annex, work->view.key.ifindex | OWNER_OF_MORE, 0, 0))
		return true;
	return is_in_owners(&in_force, annex, work->view.key.ifindex | OWNER_OF_MORE, work->high, 0);
}
