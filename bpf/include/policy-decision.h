/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of a packet, and of the flow that it is of or opens. */
#pragma once

#include "policy-verdict.h"
#include "policy-opening.h"
#include "policy-translate.h"
#include "policy-connections.h"
#include "policy-limits.h"
#include "policy-log.h"

static __always_inline void pass(struct decision *out, __u32 reason, __u32 rule)
{
	out->verdict = VERDICT_PASS;
	out->reason = reason;
	out->rule = rule;
}

static __always_inline void drop(struct decision *out, __u32 reason, __u32 rule)
{
	out->verdict = VERDICT_DROP;
	out->reason = reason;
	out->rule = rule;
}

/* A packet of a flow that the table in force has decided. */
static __always_inline void follow(struct flow *flow, bool is_related, __u8 tcp_flags, enum flow_direction direction,
				   struct decision *out)
{
	bool is_reply = flow->opened != direction;

	if (flow->flags & FLOW_DENIED)
		drop(out, REASON_REVOKED, flow->rule);
	else if (flow->flags & FLOW_KEPT)
		pass(out, REASON_KEPT, 0);
	else if (is_related)
		pass(out, REASON_RELATED, flow->rule);
	else
		pass(out, is_reply ? REASON_REPLY : REASON_ESTABLISHED, flow->rule);
	if (dry_run || is_related)
		return;
	if (tcp_flags & (TCP_FIN | TCP_RST))
		flow->state = FLOW_CLOSING;
	else if (is_reply && flow->state == FLOW_OPENING)
		flow->state = FLOW_ANSWERED;
}

/*
 * What is written in place, here and of a flow's state and connection, may hit another flow that has the memory by now.
 * That one was put on record at this moment: at worst it is judged again, or its connection looked at, too early or too
 * late.
 */
static __always_inline void see(struct flow *flow, __u64 now_ns)
{
	flow->seen_ns = now_ns;
	flow->seen_tick = bpf_jiffies64();
}

static __always_inline void watch_flow(struct work *work)
{
	bool is_counted = work->ruling.most_connections && is_connection(&work->view);

	if (!is_counted)
		work->flow.connection = FLOW_UNCOUNTED;
	else if (!work->flow.connection)
		work->flow.connection = FLOW_WATCHED;
}

/* Another table decided the flow: this one has, by what opened it. */
static __always_inline void renew_flow(struct work *work)
{
	__u8 flags = work->flow.flags;

	work->flow.serial = work->serial;
	see(&work->flow, work->now_ns);
	work->flow.rule = work->ruling.rule;
	if (!work->ruling.drops)
		work->flow.flags = work->ruling.keeps * FLOW_KEEPS;
	else
		work->flow.flags = flags & FLOW_KEEPS ? FLOW_KEEPS | FLOW_KEPT :
						       FLOW_DENIED | work->ruling.is_blocked * FLOW_BLOCKED;
	work->flow.flags |= flags & FLOW_TRANSLATED;
	if (!work->ruling.drops && work->ruling.has_effect)
		work->flow.flags |= FLOW_PER_PACKET;
	if (counts_connections && !work->ruling.drops)
		watch_flow(work);
	work->is_effective = (work->flow.flags & FLOW_PER_PACKET) != 0;
	if (!dry_run)
		put_flow(&work->view.key, work->view.is_ipv6, &work->flow);
}

static __always_inline void limit_connections(struct work *work, bool begins_now)
{
	if (!counts_connections || !work->ruling.most_connections || work->ruling.drops ||
	    !asks_for_connection(&work->view) || begin_connection(work->ruling.most_connections, begins_now))
		return;
	rule_out(work, REASON_CONNECTION_LIMIT);
	work->ruling.rule = 0;
}

/* There is no flow: the packet opens one, or stands for itself. */
static __always_inline void open_flow(enum flow_direction direction, __u32 bytes, struct work *work)
{
	struct packet_view *view = &work->view;
	struct decision *out = &work->decision;
	__u32 connection_ns = work->ruling.connection_ns;

	/* What one of the two limits refuses takes nothing of the other. */
	limit_connections(work, false);
	forget();
	if (connection_ns && !work->ruling.drops && begins(view, direction) &&
	    !may_begin(&view->key.ifindex, connection_ns, work->now_ns, &work->high)) {
		rule_out(work, REASON_CONNECTION_RATE);
		work->ruling.rule = 0;
	}
	forget();
	limit_connections(work, true);
	forget();
	if (logs_flows && work->ruling.logs && !dry_run && (!work->ruling.drops || work->ruling.reason == REASON_DENIED))
		log_flow(bytes);
	out->verdict = work->ruling.drops ? VERDICT_DROP : VERDICT_PASS;
	out->reason = work->ruling.reason;
	out->rule = work->ruling.rule;
	work->is_effective = work->ruling.has_effect;
	/* Without a record nobody knows what goes on with it, but what opens a connection says so itself. */
	out->opens_flow = !work->ruling.drops && opens(view);
	/* Of a connection that the other end goes on with, the endpoint's own packets make the record. */
	if (dry_run || work->ruling.drops || !keeps_record(work) || view->kind != PACKET_OF_FLOW ||
	    (work->opened != direction && !work->is_proven))
		return;
	out->opens_flow = true;
	work->flow = (struct flow){
		.serial = work->serial,
		.seen_ns = work->now_ns,
		.seen_tick = bpf_jiffies64(),
		.rule = work->ruling.rule,
		.opened = work->opened,
		.state = view->key.protocol != IPPROTO_TCP || view->tcp_flags & TCP_SYN ? FLOW_OPENING : FLOW_ANSWERED,
		.flags = (work->ruling.keeps ? FLOW_KEEPS : 0) |
			 (work->ruling.has_effect ? FLOW_PER_PACKET : 0) | flag_of_translation(direction, work),
	};
	if (counts_connections)
		watch_flow(work);
	put_flow(&view->key, view->is_ipv6, &work->flow);
}

/* The last that is done with the key. */
static __always_inline void record_fragment(bool arrives, struct packet_view *view)
{
	struct fragment_record record = {
		.local_port = view->key.local_port,
		.remote_port = view->key.remote_port,
		.kind = view->kind,
		.icmp_type = view->icmp_type,
	};

	set_fragment_key(arrives, view);
	bpf_map_update_elem(&fragments, &view->key, &record, BPF_ANY);
	view->key.protocol &= 0xff;
}
