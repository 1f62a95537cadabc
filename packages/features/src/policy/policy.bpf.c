// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Judges the packets of endpoints at the host-side ends of their interfaces, by one table for the whole
 * node (docs/adr/0023-policy-is-one-table.md). A flow that the table in force has decided costs one
 * look at flows4 or flows6.
 */
#define RULES_COUNT_ELSEWHERE
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

char LICENSE[] SEC("license") = "Dual BSD/GPL";

EXPORT_TYPE(enum, policy_reason);

enum policy_layout {
	LAYOUT_LINE_BYTES = POLICY_LINE,
	LAYOUT_TIERS = POLICY_TIERS,
	LAYOUT_NO_LENGTH = POLICY_NO_LENGTH,
	LAYOUT_BUCKET_LINES = POLICY_BUCKET_LINES,
	LAYOUT_LENGTH_LINES = POLICY_LENGTH_LINES,
	LAYOUT_ENDPOINT_WAYS = ENDPOINT_WAYS,
	LAYOUT_ADDRESS_WAYS = ADDRESS_WAYS,
	LAYOUT_CELL_WAYS = CELL_WAYS,
	LAYOUT_SERVICE_WAYS = SERVICE_WAYS,
	LAYOUT_SERVICE_BACKENDS = SERVICE_BACKENDS,
	LAYOUT_LEARNT_NAMES = LEARNT_NAMES,
	LAYOUT_NAME_CLASS_BITS = NAME_CLASS_BITS,
};
EXPORT_TYPE(enum, policy_layout);
EXPORT_TYPE(struct, policy_line);
EXPORT_TYPE(struct, policy_header);
EXPORT_TYPE(struct, policy_annex);
EXPORT_TYPE(struct, policy_names);
EXPORT_TYPE(struct, policy_endpoint);
EXPORT_TYPE(struct, verdict_table);
EXPORT_TYPE(struct, ranked_rule);
EXPORT_TYPE(enum, port_space);
EXPORT_TYPE(enum, rule_flag);
EXPORT_TYPE(struct, rule_effect);
EXPORT_TYPE(enum, effect_flag);
EXPORT_TYPE(enum, table_flag);
EXPORT_TYPE(enum, owner_mark);
EXPORT_TYPE(struct, account);
EXPORT_TYPE(struct, bandwidth_key);
EXPORT_TYPE(struct, bandwidth);
EXPORT_TYPE(enum, connection_state);
EXPORT_TYPE(struct, connection);
EXPORT_TYPE(struct, connection_count);
EXPORT_TYPE(struct, logged_flow);
EXPORT_TYPE(struct, service_directory);
EXPORT_TYPE(struct, service_port);
EXPORT_TYPE(struct, translation);
EXPORT_TYPE(enum, flow_direction);
EXPORT_TYPE(enum, flow_state);
EXPORT_TYPE(enum, flow_flag);
EXPORT_TYPE(struct, known_name);
EXPORT_TYPE(struct, learnt_key);
EXPORT_TYPE(struct, learnt_name);
EXPORT_TYPE(struct, learnt);
EXPORT_TYPE(enum, name_event);
EXPORT_TYPE(struct, trial_key);
EXPORT_TYPE(struct, trial);
EXPORT_TYPE(struct, trial_totals);
EXPORT_TYPE(enum, endpoint_mark);
EXPORT_TYPE(enum, endpoint_number);

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
		work->flow.flags = flags & FLOW_KEEPS ? FLOW_KEEPS | FLOW_KEPT : FLOW_DENIED;
	work->flow.flags |= flags & FLOW_TRANSLATED;
	if (!work->ruling.drops && work->ruling.has_effect)
		work->flow.flags |= FLOW_PER_PACKET;
	if (counts_connections && !work->ruling.drops)
		watch_flow(work);
	work->is_effective = (work->flow.flags & FLOW_PER_PACKET) != 0;
	if (!dry_run)
		put_flow(&work->view.key, work->view.is_ipv6, &work->flow);
}

/* There is no flow: the packet opens one, or stands for itself. */
static __always_inline void open_flow(enum flow_direction direction, __u32 bytes, struct work *work)
{
	struct packet_view *view = &work->view;
	struct decision *out = &work->decision;
	__u32 rate = work->ruling.connection_rate;

	if (rate && !work->ruling.drops && begins(view, direction) &&
	    !may_begin(&view->key.ifindex, rate, work->now_ns, &work->high)) {
		rule_out(work, REASON_CONNECTION_RATE);
		work->ruling.rule = 0;
	}
	if (counts_connections && work->ruling.most_connections && !work->ruling.drops && asks_for_connection(view) &&
	    !begin_connection(work->ruling.most_connections)) {
		rule_out(work, REASON_CONNECTION_LIMIT);
		work->ruling.rule = 0;
	}
	forget();
	if (logs_flows && work->ruling.logs && !dry_run && (!work->ruling.drops || work->ruling.reason == REASON_DENIED))
		log_flow(bytes);
	out->verdict = work->ruling.drops ? VERDICT_DROP : VERDICT_PASS;
	out->reason = work->ruling.reason;
	out->rule = work->ruling.rule;
	work->is_effective = work->ruling.has_effect;
	/* Of a connection that the other end goes on with, the endpoint's own packets make the record. */
	if (dry_run || work->ruling.drops || !keeps_record(work) || view->kind != PACKET_OF_FLOW ||
	    (work->opened != direction && !work->is_proven))
		return;
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

/*
 * What is not of a flow that run_known() knows is judged in steps. Each is a function that is global, so that the verifier
 * follows it once, whatever came before, and that has the stack for itself: all calls together have 512 bytes. What a step
 * finds out is in the work in hand.
 */

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
	meet_flow(flow, direction, work);
	work->opened = flow->opened;
	if (!open_table(&in_force) || flow->serial != in_force.header->serial) {
		work->flow = *flow;
		work->has_flow = true;
		return MET_NOTHING;
	}
	work->counters = in_force.header->counters;
	work->serial = in_force.header->serial;
	work->is_effective = (flow->flags & FLOW_PER_PACKET) != 0;
	work->is_followed = flow->connection && view->kind != PACKET_RELATED;
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

	if (decision->verdict != VERDICT_PASS || work->view.kind != PACKET_OF_FLOW || !is_of_dns(&work->view.key))
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
	if (limits_bandwidth && decision->verdict == VERDICT_PASS && !take_share(packet->ctx, direction))
		drop(decision, REASON_BANDWIDTH_LIMIT, 0);
	keep_account(&view->key, direction, packet->length, decision->verdict == VERDICT_PASS, is_blocked);
	decision->network = view->is_ipv6 ? NETWORK_IPV6 : NETWORK_IPV4;
	remote_words(view, &decision->address.high, &decision->address.low);
	if (!view->is_ipv6)
		decision->address = (struct address){ .high = decision->address.low << 32 };
	if (decision->rule && !dry_run)
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

/* No verdict of tc. */
#define NOT_KNOWN 0x100

/*
 * Most packets: with simple headers, of a flow that the table in force has decided and that another packet of was
 * seen within a second.
 */
static __always_inline int run_known(struct __sk_buff *skb, enum flow_direction direction, bool is_host)
{
	struct packet packet = packet_of_skb(skb, PACKET_TC);
	struct decision decision = {};
	struct packet_view view = {};
	struct table_view in_force;
	struct flow *flow;

	if (is_host && (has_no_link_layer || (direction == FLOW_EGRESS && is_sent_on(skb))))
		return NOT_KNOWN;
	view.key.ifindex = is_host ? ENDPOINT_HOST : skb->ifindex;
	if (!read_simple(&packet, direction == FLOW_INGRESS, &view) || opens(&view) || is_of_dns(&view.key) ||
	    !open_table(&in_force))
		return NOT_KNOWN;
	flow = find_flow(&view.key, view.is_ipv6);
	if (!flow || flow->serial != in_force.header->serial || !is_young(flow))
		return NOT_KNOWN;
	if (translates_services && flow->flags & FLOW_TRANSLATED)
		return NOT_KNOWN;
	if (has_effects && flow->flags & FLOW_PER_PACKET)
		return NOT_KNOWN;
	if (counts_connections && is_watched(flow, view.tcp_flags))
		return NOT_KNOWN;
	if (direction == FLOW_EGRESS)
		leave(skb, in_force.header->serial);
	else if (!arrive(skb, in_force.header->serial))
		return NOT_KNOWN;
	follow(flow, false, view.tcp_flags, direction, &decision);
	return finish(&packet, in_force.header->counters, &view, direction, false, &decision);
}

/* Functions of their own, for what they have on the stack is not there while others judge: all of it is 512 bytes. */
static __noinline int run_known_ingress(struct __sk_buff *skb)
{
	return run_known(skb, FLOW_INGRESS, false);
}

static __noinline int run_known_egress(struct __sk_buff *skb)
{
	return run_known(skb, FLOW_EGRESS, false);
}

/* Any packet. */
static __always_inline int judge(struct __sk_buff *skb, enum flow_direction direction)
{
	if (!(direction == FLOW_INGRESS ? meet_ingress(skb) : meet_egress(skb)))
		decide(skb);
	let_pass(skb);
	return conclude(skb);
}

/* What the endpoint receives: leaves by the host's end of its interface. */
SEC("tc")
int policy_ingress(struct __sk_buff *skb)
{
	int verdict = run_known_ingress(skb);

	if (verdict != NOT_KNOWN)
		return verdict;
	verdict = judge(skb, FLOW_INGRESS);
	if (translates_services && verdict == TCX_NEXT)
		restore_ingress(skb);
	return verdict;
}

/* What the endpoint sends. */
SEC("tc")
int policy_egress(struct __sk_buff *skb)
{
	int verdict = run_known_egress(skb);

	if (verdict != NOT_KNOWN)
		return verdict;
	if (!translates_services)
		return judge(skb, FLOW_EGRESS);
	translate_egress(skb);
	verdict = judge(skb, FLOW_EGRESS);
	if (verdict == TCX_NEXT)
		keep_translation();
	return verdict;
}

#include "policy-host-programs.h"
