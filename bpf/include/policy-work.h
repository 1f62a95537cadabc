/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table in force, and what is known of the packet in hand. */
#pragma once

#include "policy-flow.h"
#include "policy-packet.h"
#include "policy-reasons.h"
#include "policy-service.h"
#include "policy-table.h"
#include "settle.h"

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

/* Some endpoint may have so many connections open. */
const volatile bool counts_connections;
/* Some rule tells of its flows. */
const volatile bool logs_flows;

struct ruling {
	__u32 reason;
	__u32 rule;
	__u8 drops;
	__u8 keeps;
	__u8 is_blocked; /* by a table of ports */
	__u32 connection_ns; /* for each; 0: any number */
	__u32 most_connections; /* 0: any number */
	__u32 logs; /* index of the rule that asks for it; 0: none */
	__u8 is_restricted; /* in some direction */
	__u8 has_effect; /* its rule does something to each packet */
	__u8 may_mean_name; /* where rules are about names too, none about addresses is met */
	__u32 names; /* as in struct ranked_rule */
};

/*
 * What is known of the packet in hand, in a map: the verifier does not look into those, so that it follows
 * what comes after once, and not once for every kind of packet.
 */
struct work {
	struct packet_view view;
	struct decision decision;
	__u64 now_ns; /* when it came */
	struct ruling ruling;
	struct flow flow;
	__u64 high, low; /* the other end's address */
	__u64 serial; /* of the table that was asked */
	__u32 counters; /* its slot */
	__u32 opened; /* enum flow_direction */
	struct ruling guessed; /* of the end that is thought to have opened the flow */
	__u8 has_flow; /* `flow` is one that another table decided */
	__u8 is_proven; /* both ends may open it: the record is made, whoever sends */
	__u8 leaves; /* the endpoint sends it */
	__u8 is_effective; /* the rule that let it pass does something to it */
	__u8 is_followed; /* it is of a flow that is a connection which is counted */
	struct rate_key rate;
	__u32 tables[POLICY_TIERS];
	__u32 lengths; /* line */
	__u32 unknown; /* class */
	__u32 class;
	__u32 space;
	__u32 port;
	__u32 row, column;
	__u32 rank;
	__u32 is_known;
	struct service_work service;
	__u8 is_by_name; /* the names of the peer are asked for too */
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
