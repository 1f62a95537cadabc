/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the table has of an endpoint, an address, a port, and of row and column together. */
#pragma once

#include "policy-work.h"

#define NO_RANK 0xffffffffU
#define NO_CLASS 0xffffffffU

static __always_inline void take_endpoint(const struct policy_endpoint *endpoint, struct work *work)
{
	/* Both are read, so that there is no branch. */
	__u32 mask = -(work->opened & 1);

	work->is_known = 1;
	work->ruling.is_restricted = (endpoint->ingress[0] | endpoint->egress[0]) != 0;
#pragma unroll
	for (int tier = 0; tier < POLICY_TIERS; tier++)
		work->tables[tier] = (endpoint->ingress[tier] & ~mask) | (endpoint->egress[tier] & mask);
}

static __always_inline void find_endpoint(const struct table_view *table, __u32 ifindex, struct work *work)
{
	const struct policy_header *header = table->header;
	__u32 line = header->endpoints + (policy_hash_pair(header->hash_seed, ifindex, 0) & header->endpoint_mask);

	work->is_known = 0;
#pragma clang loop unroll(disable)
	for (int lines = 0; lines < POLICY_BUCKET_LINES; lines++) {
		const struct endpoint_bucket *bucket = line_at(table, line);

		if (!bucket)
			return;
		if (bucket->entries[0].ifindex == ifindex)
			return take_endpoint(&bucket->entries[0], work);
		if (bucket->entries[1].ifindex == ifindex)
			return take_endpoint(&bucket->entries[1], work);
		line = bucket->entries[0].next;
		if (!line)
			return;
	}
}

/* Sets the class if there is such a prefix. */
static __always_inline void find_address(const struct table_view *table, __u64 high, __u64 low, __u32 length,
					 struct work *work)
{
	const struct policy_header *header = table->header;
	__u32 line = header->addresses +
		     (policy_hash_address(header->hash_seed, high, low, length) & header->address_mask);
	__u32 class = NO_CLASS;

#pragma clang loop unroll(disable)
	for (int lines = 0; lines < POLICY_BUCKET_LINES; lines++) {
		const struct address_bucket *bucket = line_at(table, line);

		if (!bucket)
			break;
#pragma unroll
		for (int way = 0; way < ADDRESS_WAYS; way++)
			class = choose(all_if_zero((bucket->low[way] ^ low) | (bucket->high[way] ^ high) |
						   (bucket->entries[way] >> 24 ^ length)),
				       bucket->entries[way] & 0xffffff, class);
		line = bucket->next;
		if (!line)
			break;
	}
	work->class = class;
}

/* All ones if a is at least b, else none, for numbers below 2^31: a comparison would double the paths. */
static __always_inline __u64 ones_if_reaches(__u64 a, __u64 b)
{
	__u64 difference = a - b;

	asm volatile("" : "+r"(difference));
	return (difference >> 63) - 1;
}

/* The first `length` bits of 64; all of them if it is more. */
static __always_inline __u64 upper_bits(__u64 length)
{
	return ones_if_reaches(length, 64) | ~(~0ULL >> (length & 63));
}

static __always_inline void find_prefix(const struct table_view *table, __u32 lengths, struct work *work)
{
	const __u8 *line = NULL;

#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < POLICY_LENGTH_LINES * POLICY_LINE; at++) {
		__u32 length;

		if (at % POLICY_LINE == 0)
			line = line_at(table, lengths + at / POLICY_LINE);
		if (!line)
			return;
		length = line[at % POLICY_LINE];
		if (length == POLICY_NO_LENGTH)
			return;
		find_address(table, work->high & upper_bits(length),
			     work->low & ones_if_reaches(length, 64) & upper_bits(length & 63), length, work);
		if (work->class != NO_CLASS)
			return;
	}
}

/* Words of an address as the table has them. */
static __always_inline void remote_words_of(const struct flow_key *key, __u8 is_ipv6, __u64 *high, __u64 *low)
{
	*high = (__u64)bpf_ntohl(key->remote_high[0]) << 32 | bpf_ntohl(key->remote_high[1]);
	*low = (__u64)(bpf_ntohl(key->remote_high[2]) | ((is_ipv6 & 1) - 1U & 0xffff)) << 32 |
	       bpf_ntohl(key->remote_low);
}

static __always_inline void remote_words(const struct packet_view *view, __u64 *high, __u64 *low)
{
	remote_words_of(&view->key, view->is_ipv6, high, low);
}

static __always_inline void find_class(const struct table_view *table, struct work *work)
{
	__u64 is_ipv6 = -(__u64)(work->view.is_ipv6 & 1);

	asm volatile("" : "+r"(is_ipv6));
	work->lengths = choose(is_ipv6, table->header->lengths6, table->header->lengths4);
	work->unknown = choose(is_ipv6, table->header->unknown6, table->header->unknown4);
	find_address(table, work->high, work->low, 128, work);
	forget();
	if (work->class == NO_CLASS)
		find_prefix(table, work->lengths, work);
	forget();
	if (work->class == NO_CLASS)
		work->class = work->unknown;
}

static __always_inline __u32 port_space_of(__u32 protocol, bool is_ipv6)
{
	if (protocol == IPPROTO_TCP)
		return PORTS_TCP;
	if (protocol == IPPROTO_UDP)
		return PORTS_UDP;
	if (protocol == NEXT_SCTP)
		return PORTS_SCTP;
	if (protocol == IPPROTO_ICMP && !is_ipv6)
		return PORTS_ICMP;
	if (protocol == NEXT_ICMPV6 && is_ipv6)
		return PORTS_ICMPV6;
	return PORTS_OTHERS;
}

static __always_inline __u32 half_of(const struct policy_line *line, __u32 index)
{
	return ((const __u16 *)line)[index & 31];
}

static __always_inline __u32 root_of(const struct verdict_table *verdicts, __u32 space)
{
	const __u32 *words = (const __u32 *)verdicts;

	/* A mask that stays inside the line is what the verifier understands. */
	return words[offsetof(struct verdict_table, ports) / 4 + (space & 7)];
}

static __always_inline void find_column(const struct table_view *table, __u32 root, struct work *work)
{
	const struct policy_line *line;
	__u32 page, port = work->port;

	work->column = 0;
	if (!root)
		return;
	line = line_at(table, root + (port >> 12));
	if (!line)
		return;
	page = line->words[port >> 8 & 15];
	if (!page)
		return;
	line = line_at(table, page + (port >> 5 & 7));
	if (line)
		work->column = half_of(line, port);
}

static __always_inline void find_row(const struct table_view *table, const struct verdict_table *verdicts,
				     struct work *work)
{
	const struct policy_line *line;

	work->row = 0;
	if (work->class >= verdicts->row_count)
		return;
	line = line_at(table, verdicts->rows + work->class / 32);
	if (line)
		work->row = half_of(line, work->class);
}

static __always_inline __u32 lower(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

/* Lowers the rank if there is such a cell with a lower one. */
static __always_inline void find_cell(const struct table_view *table, __u32 number, __u32 place, struct work *work)
{
	const struct policy_header *header = table->header;
	__u32 line = header->cells + (policy_hash_pair(header->hash_seed, number, place) & header->cell_mask);
	__u32 rank = NO_RANK;

#pragma clang loop unroll(disable)
	for (int lines = 0; lines < POLICY_BUCKET_LINES; lines++) {
		const struct cell_bucket *bucket = line_at(table, line);

		if (!bucket)
			break;
#pragma unroll
		for (int way = 0; way < CELL_WAYS; way++)
			rank = choose(all_if_zero((bucket->places[way] ^ place) | (bucket->tables[way] ^ number)),
				      bucket->ranks[way], rank);
		line = bucket->next;
		if (!line)
			break;
	}
	work->rank = lower(work->rank, rank);
}

/*
 * The rank that decides. A cell of row and column has the rank of everything that covers it, and where there
 * is one the others are not looked at.
 */
static __always_inline void find_rank(const struct table_view *table, const struct verdict_table *verdicts,
				      struct work *work)
{
	__u32 number = verdicts->number;

	find_row(table, verdicts, work);
	forget();
	find_column(table, root_of(verdicts, work->space), work);
	work->rank = NO_RANK;
	forget();
	if (work->row && work->column)
		find_cell(table, number, work->row << 16 | work->column, work);
	forget();
	if (work->rank != NO_RANK)
		return;
	work->rank = verdicts->fallback;
	if (work->row)
		find_cell(table, number, work->row << 16, work);
	if (work->column)
		find_cell(table, number, work->column, work);
}
