/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The node itself as an endpoint (docs/adr/0029-the-node-is-an-endpoint.md): what is judged where its interfaces
 * receive and send, and what is only forwarded there.
 */
#pragma once

#include "policy-opening.h"

/* The interface has no link layer: packets begin with IP. */
const volatile bool has_no_link_layer;

#define PROTOCOL_IGMP 2

/* What comes in for an interface on top of this one is judged there. */
static __always_inline bool is_of_vlan(const struct __sk_buff *skb)
{
	return skb->vlan_present && skb->vlan_tci & 0xfff;
}

/* What was received before it was sent; what the node itself sends, on its own or for a socket, never was. */
static __always_inline bool is_sent_on(const struct __sk_buff *skb)
{
	return skb->ingress_ifindex != 0;
}

/* To several on the link, or to nobody yet, which only the node itself can mean. */
static __always_inline bool is_of_node_alone(bool is_ipv6, __u64 high, __u64 low)
{
	if (is_ipv6)
		return high >> 56 == 0xff || high >> 54 == 0xfe80 >> 6 || (high | low) == 0;
	return (__u32)low >> 28 == 0xe || (__u32)low == 0xffffffff || (__u32)low == 0;
}

static __always_inline bool has_host_address(struct work *work)
{
	struct table_view in_force;
	const struct policy_annex *annex;

	local_words(&work->view, &work->high, &work->low);
	if (is_of_node_alone(work->view.is_ipv6, work->high, work->low))
		return true;
	if (!open_table(&in_force))
		return false;
	annex = annex_of(&in_force);
	return annex && is_in_owners(&in_force, annex, ENDPOINT_HOST, work->high, work->low);
}

/*
 * What is sent on with an address of the node was given that on its way (masquerading): what answers it comes to the
 * node's address, and is none of the node's. A flow that the node itself has on record stays one.
 */
static __always_inline void keep_forwarded(struct work *work)
{
	struct packet_view *view = &work->view;
	__u64 now_ns = flow_clock();
	struct flow *flow;

	if (dry_run || view->kind != PACKET_OF_FLOW)
		return;
	flow = find_flow(&view->key, view->is_ipv6);
	if (flow && !opens(view) && is_live(flow, view->key.protocol, now_ns)) {
		if (flow->flags & FLOW_FORWARDED) {
			flow->seen_ns = now_ns;
			if (view->tcp_flags & (TCP_FIN | TCP_RST))
				flow->state = FLOW_CLOSING;
		}
		return;
	}
	if (guess_opener(view, FLOW_EGRESS) != FLOW_EGRESS)
		return;
	work->flow = (struct flow){
		.seen_ns = now_ns,
		.opened = FLOW_EGRESS,
		.state = view->key.protocol != IPPROTO_TCP || opens(view) ? FLOW_OPENING : FLOW_ANSWERED,
		.flags = FLOW_FORWARDED,
	};
	put_flow(&view->key, view->is_ipv6, &work->flow);
}

/* True: the packet is neither to nor from the node itself. */
static __always_inline bool passes_by(const struct __sk_buff *skb, enum flow_direction direction, struct work *work)
{
	if (work->view.kind == PACKET_NEIGHBOUR)
		return false;
	if (work->view.kind == PACKET_REFUSED && work->view.refused == REASON_NOT_IP)
		return true;
	if (!has_host_address(work)) {
		work->view.records_fragment = false;
		return true;
	}
	if (direction == FLOW_INGRESS || !is_sent_on(skb))
		return false;
	forget();
	keep_forwarded(work);
	return true;
}

/* Of a flow that is sent on, an answer. */
static __always_inline bool answers_forwarded(struct flow *flow, const struct packet_view *view)
{
	if (!(flow->flags & FLOW_FORWARDED))
		return false;
	if (dry_run || view->kind == PACKET_RELATED)
		return true;
	if (view->tcp_flags & (TCP_FIN | TCP_RST))
		flow->state = FLOW_CLOSING;
	else if (flow->state == FLOW_OPENING)
		flow->state = FLOW_ANSWERED;
	return true;
}

/*
 * What is never held back: errors that the node tells of packets that pass it, and who listens to which group (as for
 * IPv6, where it is of the neighbours).
 */
static __always_inline bool is_upkeep(const struct packet_view *view, enum flow_direction direction)
{
	if (view->kind == PACKET_ALONE && direction == FLOW_EGRESS &&
	    view->key.protocol == (view->is_ipv6 ? NEXT_ICMPV6 : IPPROTO_ICMP))
		return is_icmp_error(view->is_ipv6, view->icmp_type);
	return view->kind == PACKET_OF_FLOW && view->key.protocol == PROTOCOL_IGMP && !view->is_ipv6;
}
