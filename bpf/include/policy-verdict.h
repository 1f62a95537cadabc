/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The walk over the table, as packages/features/src/policy/table/judge-table.ts does it: endpoint, class
 * of the peer, and in each table row, column and at most three cells.
 */
#pragma once

#include "policy-names.h"
#include "policy-source.h"

static __always_inline void rule_out(struct work *work, __u32 reason)
{
	work->ruling.reason = reason;
	work->ruling.drops = true;
}

/* A table that is cut short. */
static __always_inline bool rule_out_all(struct work *work)
{
	rule_out(work, REASON_NO_TABLE);
	return false;
}

/* False: it drops. */
static __always_inline bool ask_table(const struct table_view *table, __u32 at, struct work *work)
{
	const struct verdict_table *verdicts = line_at(table, at);
	const struct policy_line *line;
	const struct ranked_rule *rule;

	if (!verdicts)
		return rule_out_all(work);
	find_rank(table, verdicts, work);
	if (heeds_names && work->is_by_name && verdicts->flags & TABLE_OF_NAMES)
		rank_by_names(at);
	line = line_at(table, verdicts->rules + work->rank / 4);
	if (!line)
		return rule_out_all(work);
	rule = (const struct ranked_rule *)line + (work->rank & 3);
	if (heeds_names && !rule->rule && verdicts->flags & TABLE_OF_NAMES)
		work->ruling.may_mean_name = true;
	/* The longer time; below, the lower number: 0, which is any, is the highest. */
	work->ruling.connection_ns = ~lower(~work->ruling.connection_ns, ~verdicts->connection_ns);
	if (counts_connections && !(rule->flags & RULE_OF_HOST))
		work->ruling.most_connections =
			lower(work->ruling.most_connections - 1, verdicts->most_connections - 1) + 1;
	if (rule->flags & RULE_DROPS) {
		work->ruling.drops = true;
		if (logs_flows)
			work->ruling.logs = rule->flags & RULE_LOGS ? rule->rule : 0;
		work->ruling.is_blocked = verdicts->flags & TABLE_OF_PORTS;
		work->ruling.rule = rule->rule;
		work->ruling.reason = rule->rule ? REASON_DENIED : REASON_DEFAULT_DENY;
		return false;
	}
	if (!rule->rule)
		return true;
	if (heeds_names) {
		if (rule->names)
			work->ruling.names = rule->names;
	} else if (rule->names && rule->names != ANY_NAME) {
		/* The table that these programs are for is not there yet: this one lets only questions for some names pass. */
		work->ruling.rule = 0;
		rule_out(work, REASON_EDITED_MEANWHILE);
		return false;
	}
	work->ruling.keeps &= rule->flags / RULE_KEEPS_FLOWS;
	if (logs_flows && rule->flags & RULE_LOGS)
		work->ruling.logs = rule->rule;
	if (!work->ruling.rule) {
		work->ruling.rule = rule->rule;
		work->ruling.has_effect = (rule->flags & RULE_HAS_EFFECT) != 0;
	}
	work->ruling.reason = REASON_ALLOWED;
	return true;
}

static __always_inline void ask_endpoint(const struct table_view *table, __u32 ifindex, struct work *work)
{
	find_endpoint(table, ifindex, work);
	forget();
	if (!work->is_known)
		return;
	work->ruling.reason = REASON_UNRESTRICTED;
	if (work->leaves && !work->has_flow && work->ruling.is_restricted && !has_own_source(table, ifindex, work))
		return rule_out(work, REASON_SOURCE_NOT_OWN);
	forget();
	if (!work->tables[0])
		return;
	if (work->view.kind == PACKET_REFUSED)
		return rule_out(work, work->view.refused);
	remote_words(&work->view, &work->high, &work->low);
	if (work->view.is_ipv6 && work->high == 0 && work->low >> 32 == 0xffff)
		return rule_out(work, REASON_MAPPED_ADDRESS);
	forget();
	find_class(table, work);
	forget();
	work->space = port_space_of(work->view.key.protocol, work->view.is_ipv6);
	if (work->space == PORTS_OTHERS)
		work->port = work->view.key.protocol;
	work->ruling.reason = REASON_ALLOWED_BY_DEFAULT;
	work->ruling.keeps = true;
	forget();
#pragma clang loop unroll(disable)
	for (__u32 tier = 0; tier < POLICY_TIERS; tier++) {
		__u32 at = work->tables[tier];

		if (!at || !ask_table(table, at, work))
			break;
	}
	work->ruling.keeps &= !work->ruling.drops && work->ruling.rule;
}

/*
 * What the table in force says of what opens a flow: `opened` and `port` in the work in hand. A function that
 * is global, so that the verifier follows it once and not for every caller.
 */
__noinline int ask_table_in_force(__u32 ifindex)
{
	struct work *work = work_in_hand();
	struct table_view in_force;

	if (!work)
		return 0;
	work->ruling = (struct ruling){ .reason = REASON_NO_TABLE, .drops = true };
	if (!open_table(&in_force))
		return 0;
	work->ruling = (struct ruling){ .reason = REASON_NOT_JUDGED };
	work->serial = in_force.header->serial;
	work->counters = in_force.header->counters;
	ask_endpoint(&in_force, ifindex, work);
	return 0;
}

/* What passes by default is asked for too: a rule that is met may limit it, or refuse the question that it is. */
static __always_inline void ask_table_and_names(__u32 ifindex, struct work *work)
{
	if (heeds_names)
		work->is_by_name = false;
	ask_table_in_force(ifindex);
	if (!heeds_names)
		return;
	forget();
	if (!work->ruling.may_mean_name || !find_names(ifindex))
		return;
	forget();
	work->is_by_name = true;
	ask_table_in_force(ifindex);
	work->is_by_name = false;
}
