/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Flows that left, so that their replies are known: TCP and UDP by addresses and ports, ICMP echo by
 * addresses and identifier. Only the time of the last packet out is kept; a flow is forgotten
 * FLOW_IDLE_NS after it, or earlier when the table is full and others are more recent.
 */
#pragma once

#include "transport.h"

#define FLOW_COUNT 65536
#define FLOW_IDLE_NS (300 * 1000000000ULL)
/* A known flow is written again only when its time is older than this. */
#define FLOW_REFRESH_NS 1000000000ULL

struct flow_key {
	struct address local;
	struct address remote;
	__be16 local_port;
	__be16 remote_port;
	__u8 protocol;
	__u8 network; /* 4 or 6 */
	__u16 zero;
};
_Static_assert(sizeof(struct flow_key) == 40, "map ABI: regenerate the codecs");

struct flow {
	__u64 seen_ns; /* since boot */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(max_entries, 1); /* FLOW_COUNT, from user space */
} flows SEC(".maps");

static __always_inline bool is_echo(const struct transport_header *transport, __u8 type, __u8 type6)
{
	if (transport->protocol == IPPROTO_ICMP)
		return transport->icmp_type == type;
	if (transport->protocol == NEXT_ICMPV6)
		return transport->icmp_type == type6;
	return true;
}

/* Remembers a packet that leaves. */
static __always_inline void track_flow(const struct network_header *network, const struct transport_header *transport,
				       __u64 now_ns)
{
	struct flow_key key = {
		.local = network->source,
		.remote = network->destination,
		.local_port = transport->source_port,
		.remote_port = transport->destination_port,
		.protocol = transport->protocol,
		.network = network->network,
	};
	struct flow *known, fresh = { .seen_ns = now_ns };

	if (!transport->has_ports || !is_echo(transport, ICMP_ECHO_REQUEST, ICMPV6_ECHO_REQUEST))
		return;
	known = bpf_map_lookup_elem(&flows, &key);
	if (!known)
		bpf_map_update_elem(&flows, &key, &fresh, BPF_ANY);
	else if (now_ns - known->seen_ns > FLOW_REFRESH_NS)
		known->seen_ns = now_ns;
}

/* Whether a packet that arrives answers a flow that left. */
static __always_inline bool is_reply(const struct network_header *network, const struct transport_header *transport,
				     __u64 now_ns)
{
	struct flow_key key = {
		.local = network->destination,
		.remote = network->source,
		.local_port = transport->destination_port,
		.remote_port = transport->source_port,
		.protocol = transport->protocol,
		.network = network->network,
	};
	struct flow *known;

	if (!transport->has_ports || !is_echo(transport, ICMP_ECHO_REPLY, ICMPV6_ECHO_REPLY))
		return false;
	known = bpf_map_lookup_elem(&flows, &key);
	return known && now_ns - known->seen_ns < FLOW_IDLE_NS;
}
