/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is not of a flow that run_known() knows is judged in steps. Each is a function that is global, so that the verifier
 * follows it once, whatever came before, and that has the stack for itself: all calls together have 512 bytes. What a step
 * finds out is in the work in hand.
 */
#pragma once

#include "policy-verdict.h"
#include "settle.h"
#include "policy-opening.h"
#include "policy-host.h"
#include "policy-translate.h"
#include "policy-edition.h"
#include "policy-effects.h"
#include "policy-accounts.h"
#include "policy-bandwidth.h"
#include "policy-connections.h"
#include "policy-limits.h"
#include "policy-log.h"
#include "policy-dns.h"
#include "policy-shadow.h"
#include "policy-decision.h"

enum meeting { MET_NOTHING, MET_DECIDED, MET_FORWARDED };

/* None of the node's: it passes, and nobody counts it. */
static __always_inline int meet_forwarded(bool arrives, struct work *work)
{
	pass(&work->decision, REASON_FORWARDED, 0);
	if (arrives && work->view.records_fragment && !dry_run)
		record_fragment(true, &work->view);
	return MET_FORWARDED;
}

/* Reads the packet and looks for its flow. MET_NOTHING: the table is to be asked. */
static __always_inline int meet(struct __sk_buff *skb, enum flow_direction direction, bool is_host)
{
	struct packet packet = packet_of_skb(skb, PACKET_TC);
	bool arrives = direction == FLOW_INGRESS;
	struct work *work = work_in_hand();
	struct packet_view *view;
	struct table_view in_force;
	struct flow *flow = NULL;
	bool is_as_known;

	if (!work)
		return MET_DECIDED;
	view = &work->view;
	*view = (struct packet_view){};
	work->decision = (struct decision){};
	work->now_ns = flow_clock();
	work->counters = 0;
	work->serial = 0;
	work->leaves = !arrives;
	work->is_proven = false;
	work->is_effective = false;
	work->is_followed = false;
	work->ruling.is_blocked = false;
	packet.starts_at_network = is_host && has_no_link_layer;
	view->network_at = ETH_HLEN;
	view->key.ifindex = is_host ? ENDPOINT_HOST : skb->ifindex;
	if (packet.starts_at_network || !read_simple(&packet, arrives, view))
		view_packet(&packet, arrives, work->now_ns, view);
	forget();
	if (is_host && passes_by(skb, direction, work))
		return meet_forwarded(arrives, work);
	forget();
	take_translation(direction, work);
	if (view->kind == PACKET_NEIGHBOUR || (is_host && is_upkeep(view, direction))) {
		if (arrives || is_host || stays_on_link(work)) {
			pass(&work->decision, REASON_NEIGHBOUR, 0);
			return MET_DECIDED;
		}
		view->kind = PACKET_ALONE;
	}
	if (view->kind != PACKET_ALONE && view->kind != PACKET_REFUSED && !opens(view))
		flow = find_flow(&view->key, view->is_ipv6);
	if (!flow || !is_live(flow, view->key.protocol, work->now_ns)) {
		meet_no_flow(direction, work);
		work->opened = guess_opener(view, direction);
		work->has_flow = false;
		return MET_NOTHING;
	}
	if (is_host && answers_forwarded(flow, view))
		return meet_forwarded(arrives, work);
	is_as_known = meet_flow(flow, direction, work);
	work->opened = flow->opened;
	if (!is_as_known || !open_table(&in_force) || flow->serial != in_force.header->serial) {
		work->flow = *flow;
		if (!is_as_known)
			work->flow.flags ^= FLOW_TRANSLATED;
		work->has_flow = true;
		return MET_NOTHING;
	}
	work->counters = in_force.header->counters;
	work->serial = in_force.header->serial;
	work->is_effective = (flow->flags & FLOW_PER_PACKET) != 0;
	work->is_followed = flow->connection && view->kind != PACKET_RELATED;
	work->ruling.is_blocked = (flow->flags & FLOW_BLOCKED) != 0;
	if (!dry_run)
		see(flow, work->now_ns);
	follow(flow, view->kind == PACKET_RELATED, view->tcp_flags, direction, &work->decision);
	return MET_DECIDED;
}

__noinline int meet_ingress(struct __sk_buff *skb)
{
	return meet(skb, FLOW_INGRESS, false);
}

__noinline int meet_egress(struct __sk_buff *skb)
{
	return meet(skb, FLOW_EGRESS, false);
}

/* By the table in force. */
__noinline int decide(struct __sk_buff *skb)
{
	struct work *work = work_in_hand();
	enum flow_direction direction;
	struct packet_view *view;

	if (!work)
		return 0;
	view = &work->view;
	direction = work->leaves;
	work->port = work->has_flow || view->kind == PACKET_OF_FLOW ? opening_port(view, work->opened) : view->icmp_type;
	ask_table_and_names(view->key.ifindex, work);
	forget();
	if (work->has_flow) {
		try_policies(skb->len, work);
		renew_flow(work);
		work->is_followed = work->flow.connection && view->kind != PACKET_RELATED;
		follow(&work->flow, view->kind == PACKET_RELATED, view->tcp_flags, direction, &work->decision);
		return 0;
	}
	if (work->ruling.is_restricted && !is_in_grace(&view->key.ifindex, work->now_ns, &work->high) &&
	    work->opened != direction && !work->ruling.drops)
		check_opener(direction, work);
	forget();
	try_policies(skb->len, work);
	open_flow(direction, skb->len, work);
	return 0;
}

static __always_inline bool may_ask(__u32 reason)
{
	if (reason == REASON_ALLOWED || reason == REASON_ESTABLISHED)
		return true;
	return tries_policies && (reason == REASON_UNRESTRICTED || reason == REASON_ALLOWED_BY_DEFAULT);
}

/* What passes, if it is of DNS and a rule of its port has names: a question may be refused, an answer teaches. */
static __always_inline void heed_names(struct __sk_buff *skb, struct work *work)
{
	struct decision *decision = &work->decision;

	if (decision->verdict != VERDICT_PASS || work->view.kind != PACKET_OF_FLOW)
		return;
	if (work->leaves && begins_dns_by_tcp(&work->view))
		count_name(NAME_BY_TCP);
	if (!is_of_dns(&work->view.key))
		return;
	if (!work->leaves) {
		if (decision->reason == REASON_REPLY && !dry_run)
			learn_answer(skb);
	} else if (may_ask(decision->reason)) {
		work->opened = FLOW_EGRESS;
		work->has_flow = true;
		work->port = bpf_ntohs(work->view.key.remote_port);
		forget();
		ask_table_and_names(work->view.key.ifindex, work);
		forget();
		if (!ask_for_name(skb, tried_names(work)))
			drop(decision, REASON_DNS_NAME_REFUSED, decision->rule);
	}
}

/* What is done about a packet that passes, and may still stop it. */
__noinline int let_pass(struct __sk_buff *skb)
{
	struct work *work = work_in_hand();
	struct decision *decision;

	if (!work)
		return 0;
	decision = &work->decision;
	if (work->leaves)
		leave(skb, work->serial);
	else if (decision->verdict == VERDICT_PASS && !has_origin(work))
		drop(decision, REASON_TRANSLATION_LOST, 0);
	if (!work->leaves && !arrive(skb, work->serial) && decision->verdict == VERDICT_PASS)
		drop(decision, REASON_EDITED_MEANWHILE, 0);
	forget();
	if (counts_connections && !dry_run && work->is_followed)
		follow_connection(work->view.tcp_flags);
	if (heeds_names)
		heed_names(skb, work);
	if (has_effects && work->is_effective && decision->verdict == VERDICT_PASS && !apply_effects(skb, decision->rule))
		drop(decision, REASON_RATE_LIMIT, decision->rule);
	if (work->view.records_fragment && decision->verdict == VERDICT_PASS && !dry_run)
		record_fragment(!work->leaves, &work->view);
	return 0;
}

static __always_inline int finish(const struct packet *packet, __u32 counters, const struct packet_view *view,
				  enum flow_direction direction, bool is_blocked, struct decision *decision)
{
	if (limits_bandwidth && decision->verdict == VERDICT_PASS && decision->reason != REASON_NEIGHBOUR &&
	    !take_share(packet->ctx, direction))
		drop(decision, REASON_BANDWIDTH_LIMIT, 0);
	keep_account(&view->key, direction, packet->length, decision->verdict == VERDICT_PASS, is_blocked);
	decision->network = view->is_ipv6 ? NETWORK_IPV6 : NETWORK_IPV4;
	remote_words(view, &decision->address.high, &decision->address.low);
	if (!view->is_ipv6)
		decision->address = (struct address){ .high = decision->address.low << 32 };
	/* A rule counts what it lets pass, or denies; what is beyond its rate has a reason of its own. */
	if (decision->rule && !dry_run && !(has_effects && decision->reason == REASON_RATE_LIMIT))
		count_slot(counters, decision->rule, packet->length);
	return settle(packet, decision);
}

/* What is counted and told of it. */
__noinline int conclude(struct __sk_buff *skb)
{
	struct packet packet = packet_of_skb(skb, PACKET_TC);
	struct work *work = work_in_hand();

	packet.starts_at_network = has_no_link_layer;
	if (!work)
		return TCX_DROP;
	return finish(&packet, work->counters, &work->view, work->leaves, work->ruling.is_blocked, &work->decision);
}
