/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which end opened a flow, where no record says so. */
#pragma once

#include "policy-verdict.h"

/* For so long, connections that are older than the policy of their endpoint go on from either end. */
const volatile __u32 grace_seconds = 60;

/* By the index of the interface: when the first packet of it was judged. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1); /* from user space */
} graces SEC(".maps");

/*
 * Who opened the connection that a TCP packet goes on with, when no record of it is left: the higher port is
 * the one that was taken at random.
 */
static __always_inline enum flow_direction guess_opener(const struct packet_view *view, enum flow_direction direction)
{
	if (view->kind != PACKET_OF_FLOW || view->key.protocol != IPPROTO_TCP ||
	    (view->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return direction;
	if ((view->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		return direction == FLOW_INGRESS ? FLOW_EGRESS : FLOW_INGRESS;
	return bpf_ntohs(view->key.local_port) > bpf_ntohs(view->key.remote_port) ? FLOW_EGRESS : FLOW_INGRESS;
}

/* What the packet that opened the flow had as its port, or type. */
static __always_inline __u32 opening_port(const struct packet_view *view, enum flow_direction opened)
{
	if (view->key.protocol == (view->is_ipv6 ? NEXT_ICMPV6 : IPPROTO_ICMP))
		return view->is_ipv6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST;
	return bpf_ntohs(opened == FLOW_INGRESS ? view->key.local_port : view->key.remote_port);
}

static __always_inline bool opens(const struct packet_view *view)
{
	return view->key.protocol == IPPROTO_TCP &&
	       (view->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* What the endpoint begins; of TCP only by what asks for a connection. */
static __always_inline bool begins(const struct packet_view *view, enum flow_direction direction)
{
	return direction == FLOW_EGRESS && view->kind == PACKET_OF_FLOW &&
	       (view->key.protocol != IPPROTO_TCP || opens(view));
}

/* Begins with the first packet that is asked about. */
static __always_inline bool is_in_grace(const __u32 *ifindex, __u64 now_ns, __u64 *scratch)
{
	const __u64 *begun_ns = bpf_map_lookup_elem(&graces, ifindex);

	if (begun_ns)
		return now_ns - *begun_ns < grace_seconds * SECOND_NS;
	*scratch = now_ns;
	if (!dry_run)
		bpf_map_update_elem(&graces, ifindex, scratch, BPF_NOEXIST);
	return grace_seconds != 0;
}

/*
 * A packet of a connection without a record, which the other end is thought to have opened, and which that one may open.
 * Anybody can send such packets. Once all connections are younger than the policy, they pass only where this end
 * may open it just as well.
 */
static __always_inline void check_opener(enum flow_direction direction, struct work *work)
{
	work->guessed = work->ruling;
	work->opened = direction;
	work->port = opening_port(&work->view, direction);
	ask_table_in_force(work->view.key.ifindex);
	forget();
	if (work->ruling.drops) {
		rule_out(work, REASON_NO_CONNECTION);
		work->ruling.rule = 0;
		return;
	}
	work->ruling = work->guessed;
	work->opened = direction == FLOW_INGRESS ? FLOW_EGRESS : FLOW_INGRESS;
	work->is_proven = true;
}
