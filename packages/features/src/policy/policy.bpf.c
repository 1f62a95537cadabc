// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Judges the packets of endpoints at the host-side ends of their interfaces, by one table for the whole
 * node (docs/adr/0023-policy-is-one-table.md). A flow that the table in force has decided costs one
 * look at flows4 or flows6.
 */
#define RULES_COUNT_ELSEWHERE
#include "policy-steps.h"

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
	LAYOUT_PACE_BITS = PACE_BITS,
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
EXPORT_TYPE(struct, pace);
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
	return finish(&packet, in_force.header->counters, &view, direction, (flow->flags & FLOW_BLOCKED) != 0, &decision);
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
