/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Verdicts by flow, as the endpoint sees it, so that one record serves both directions. A flow is only a
 * verdict that was reached before: one that is gone, or older than its time, is judged again.
 */
#pragma once

#include "packet.h"

#include <linux/in.h>

#include <bpf/bpf_core_read.h>

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
	FLOW_PER_PACKET = 8, /* its rule does something to each packet */
	FLOW_TRANSLATED = 16, /* the endpoint sends it to a Service */
	FLOW_FORWARDED = 32, /* none of the node's, whose address it has: see policy-host.h */
	FLOW_BLOCKED = 64, /* denied, by a table of ports */
};

struct flow {
	__u64 serial; /* of the table that decided */
	__u64 seen_ns; /* monotonic, by a clock that may be coarse */
	__u64 seen_tick; /* jiffies, at the same time */
	__u32 rule; /* index in the counters of that table */
	__u8 opened; /* enum flow_direction */
	__u8 state; /* enum flow_state */
	__u8 flags; /* enum flow_flag */
	__u8 connection; /* enum flow_connection */
};
_Static_assert(sizeof(struct flow) == 32, "map ABI: regenerate the codecs");

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

/*
 * What the first fragment of a datagram said of it. The key is a flow's, with the identification as ports and
 * the direction in the upper half of the protocol.
 */
struct fragment_record {
	__be16 local_port;
	__be16 remote_port;
	__u8 kind; /* enum packet_kind */
	__u8 icmp_type;
	__u16 unused;
};
_Static_assert(sizeof(struct fragment_record) == 8, "map ABI: regenerate the codecs");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct fragment_record);
	__uint(max_entries, 1); /* from user space */
} fragments SEC(".maps");

#define SECOND_NS 1000000000ULL

#define FLOW_TCP_IDLE (8000 * SECOND_NS) /* beyond what keeps connections alive by default */
#define FLOW_OTHER_IDLE (180 * SECOND_NS)
#define FLOW_ONE_SIDED_IDLE (60 * SECOND_NS) /* not answered yet, or closing */

/* The coarse clock of Linux 5.11 costs less, and seconds are all that is asked for. */
static __always_inline __u64 flow_clock(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_coarse_ns))
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

/*
 * Reading jiffies costs nothing, a clock a third of all that a packet of a known flow costs. How long a tick is
 * differs between kernels, but nowhere are so many more than a second, nor is it long until they are over.
 */
#define YOUNG_TICKS 100

static __always_inline bool is_young(const struct flow *flow)
{
	return bpf_jiffies64() - flow->seen_tick < YOUNG_TICKS;
}

static __always_inline struct flow *find_flow(const struct flow_key *key, bool is_ipv6)
{
	return is_ipv6 ? bpf_map_lookup_elem(&flows6, key) : bpf_map_lookup_elem(&flows4, key);
}

/* Always the whole value: the memory of one that was found may belong to another flow by now. */
static __always_inline void put_flow(const struct flow_key *key, bool is_ipv6, const struct flow *flow)
{
	if (is_ipv6)
		bpf_map_update_elem(&flows6, key, flow, BPF_ANY);
	else
		bpf_map_update_elem(&flows4, key, flow, BPF_ANY);
}

/* What has been still for longer is judged again. */
static __always_inline bool is_live(const struct flow *flow, __u32 protocol, __u64 now_ns)
{
	__u64 idle_ns = now_ns - flow->seen_ns;

	if (flow->state != FLOW_ANSWERED)
		return idle_ns < FLOW_ONE_SIDED_IDLE;
	return idle_ns < (protocol == IPPROTO_TCP ? FLOW_TCP_IDLE : FLOW_OTHER_IDLE);
}
