/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The walk over the table, as packages/features/src/policy/table/judge-table.ts does it: endpoint, class
 * of the peer, and in each table row, column and at most three cells.
 */
#pragma once

#include "policy-flow.h"
#include "policy-packet.h"
#include "policy-reasons.h"
#include "policy-table.h"

#define NO_RANK 0xffffffffU
#define NO_CLASS 0xffffffffU

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__type(key, __u32);
		__type(value, struct policy_line);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_INNER_MAP);
	});
} table SEC(".maps");

struct ruling {
	__u32 reason;
	__u32 rule;
	__u8 drops;
	__u8 keeps;
	__u8 is_blocked; /* by a table of ports */
	__u32 connection_rate; /* 0: any number */
	__u8 is_restricted; /* in some direction */
};

/*
 * What is known of the packet in hand, in a map: the verifier does not look into those, so that it follows
 * what comes after once, and not once for every kind of packet.
 */
struct work {
	struct packet_view view;
	struct ruling ruling;
	struct flow flow;
	__u64 high, low; /* the other end's address */
	__u64 serial; /* of the table that was asked */
	__u32 counters; /* its slot */
	__u32 opened; /* enum flow_direction */
	__u8 has_flow; /* `flow` is one that another table decided */
	__u32 tables[POLICY_TIERS];
	__u32 lengths; /* line */
	__u32 unknown; /* class */
	__u32 class;
	__u32 space;
	__u32 port;
	__u32 row, column;
	__u32 rank;
	__u32 is_known;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct work);
	__uint(max_entries, 1);
} works SEC(".maps");

/* What is in `struct work` is read from there again: what the compiler still knows of it would be paths again. */
static __always_inline void forget(void)
{
	asm volatile("" : : : "memory");
}

struct table_view {
	void *lines;
	const struct policy_header *header;
};

static __always_inline bool open_table(struct table_view *view)
{
	__u32 zero = 0;

	view->lines = bpf_map_lookup_elem(&table, &zero);
	if (!view->lines)
		return false;
	view->header = bpf_map_lookup_elem(view->lines, &zero);
	return view->header;
}

static __always_inline struct work *work_in_hand(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&works, &zero);
}

static __always_inline void *line_at(const struct table_view *table, __u32 line)
{
	return bpf_map_lookup_elem(table->lines, &line);
}

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

/* Arithmetic throughout, for a comparison would double the verifier's paths. */
static __always_inline __u32 all_if_zero(__u64 value)
{
	__u64 filled = value | -value;

	asm volatile("" : "+r"(filled));
	return (filled >> 63) - 1;
}

static __always_inline __u32 choose(__u32 mask, __u32 a, __u32 b)
{
	return (a & mask) | (b & ~mask);
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
static __always_inline void remote_words(const struct packet_view *view, __u64 *high, __u64 *low)
{
	const struct flow_key *key = &view->key;

	*high = (__u64)bpf_ntohl(key->remote_high[0]) << 32 | bpf_ntohl(key->remote_high[1]);
	*low = (__u64)(bpf_ntohl(key->remote_high[2]) | ((view->is_ipv6 & 1) - 1U & 0xffff)) << 32 |
	       bpf_ntohl(key->remote_low);
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

/* False: it drops. */
static __always_inline bool ask_table(const struct table_view *table, __u32 at, struct work *work)
{
	const struct verdict_table *verdicts = line_at(table, at);
	const struct policy_line *line;
	const struct ranked_rule *rule;

	if (!verdicts)
		return true;
	find_rank(table, verdicts, work);
	line = line_at(table, verdicts->rules + work->rank / 4);
	if (!line)
		return true;
	rule = (const struct ranked_rule *)line + (work->rank & 3);
	/* The lower one; 0, which is any number, is the highest. */
	work->ruling.connection_rate = lower(work->ruling.connection_rate - 1, verdicts->connection_rate - 1) + 1;
	if (rule->flags & RULE_DROPS) {
		work->ruling.drops = true;
		work->ruling.is_blocked = verdicts->flags & TABLE_OF_PORTS;
		work->ruling.rule = rule->rule;
		work->ruling.reason = rule->rule ? REASON_DENIED : REASON_DEFAULT_DENY;
		return false;
	}
	if (!rule->rule)
		return true;
	work->ruling.keeps &= rule->flags / RULE_KEEPS_FLOWS;
	if (!work->ruling.rule)
		work->ruling.rule = rule->rule;
	work->ruling.reason = REASON_ALLOWED;
	return true;
}

static __always_inline void rule_out(struct work *work, __u32 reason)
{
	work->ruling.reason = reason;
	work->ruling.drops = true;
}

static __always_inline void ask_endpoint(const struct table_view *table, __u32 ifindex, struct work *work)
{
	find_endpoint(table, ifindex, work);
	forget();
	if (!work->is_known)
		return;
	work->ruling.reason = REASON_UNRESTRICTED;
	if (!work->tables[0])
		return;
	if (work->view.kind == PACKET_REFUSED)
		return rule_out(work, work->view.refused);
	remote_words(&work->view, &work->high, &work->low);
	if (work->view.is_ipv6 && work->high == 0 && work->low >> 32 == 0xffff)
		return rule_out(work, REASON_MAPPED_ADDRESS);
	forget();
	find_class(table, work);
	forget();
	work->space = port_space_of(work->view.key.protocol, work->view.is_ipv6);
	if (work->space == PORTS_OTHERS)
		work->port = work->view.key.protocol;
	work->ruling.reason = REASON_ALLOWED_BY_DEFAULT;
	work->ruling.keeps = true;
	forget();
#pragma clang loop unroll(disable)
	for (__u32 tier = 0; tier < POLICY_TIERS; tier++) {
		__u32 at = work->tables[tier];

		if (!at || !ask_table(table, at, work))
			break;
	}
	work->ruling.keeps &= !work->ruling.drops && work->ruling.rule;
}

/*
 * What the table in force says of what opens a flow: `opened` and `port` in the work in hand. A function that
 * is global, so that the verifier follows it once and not for every caller.
 */
__noinline int ask_table_in_force(__u32 ifindex)
{
	struct work *work = work_in_hand();
	struct table_view in_force;

	if (!work)
		return 0;
	work->ruling = (struct ruling){ .reason = REASON_NO_TABLE, .drops = true };
	if (!open_table(&in_force))
		return 0;
	work->ruling = (struct ruling){ .reason = REASON_NOT_JUDGED };
	work->serial = in_force.header->serial;
	work->counters = in_force.header->counters;
	ask_endpoint(&in_force, ifindex, work);
	return 0;
}
