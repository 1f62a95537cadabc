/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Verdicts by flow, as the endpoint sees it, so that one record serves both directions. A flow is only a
 * verdict that was reached before: one that is gone, or older than its time, is judged again.
 */
#pragma once

#include "packet.h"

/* IPv4 ends with `remote_low`: flows4 has keys of so many bytes. */
#define FLOW4_KEY 20

struct flow_key {
	__u32 ifindex;
	/* Of ICMP echo: the identifier, at the end that asks; of other protocols without ports: 0. */
	__be16 local_port;
	__be16 remote_port;
	__u32 protocol;
	__be32 local_low;
	__be32 remote_low;
	/* The other words of IPv6 addresses, in their order. */
	__be32 local_high[3];
	__be32 remote_high[3];
};
_Static_assert(sizeof(struct flow_key) == 44, "map ABI: regenerate the codecs");
_Static_assert(offsetof(struct flow_key, local_high) == FLOW4_KEY, "the key of flows4 is a head of it");

struct flow4_key {
	__u8 head[FLOW4_KEY];
};

/* Who opened it, as directions are of the endpoint. */
enum flow_direction { FLOW_INGRESS, FLOW_EGRESS };

enum flow_state { FLOW_OPENING, FLOW_ANSWERED, FLOW_CLOSING };

enum flow_flag {
	FLOW_KEEPS = 1, /* lives on when it ceases to be allowed */
	FLOW_DENIED = 2, /* an open connection that is allowed no more */
	FLOW_KEPT = 4, /* it has ceased to be allowed */
};

struct flow {
	__u64 serial; /* of the table that decided */
	__u64 seen_ns; /* since boot, by a clock that may be coarse */
	__u32 rule; /* index in the counters of that table */
	__u8 opened; /* enum flow_direction */
	__u8 state; /* enum flow_state */
	__u8 flags; /* enum flow_flag */
	__u8 unused;
};
_Static_assert(sizeof(struct flow) == 24, "map ABI: regenerate the codecs");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow4_key);
	__type(value, struct flow);
	__uint(max_entries, 1); /* from user space */
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(max_entries, 1); /* from user space */
} flows6 SEC(".maps");

/* What the first fragment of a datagram said of it. The key is a flow's, with the identification as ports. */
struct fragment_record {
	__be16 local_port;
	__be16 remote_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct fragment_record);
	__uint(max_entries, 1); /* from user space */
} fragments SEC(".maps");
