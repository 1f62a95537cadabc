/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What would become of a flow if the policies that are only tried out were in force too. Asked when a flow opens or is
 * judged again; what differs is counted, and nothing else is done.
 */
#pragma once

#include "policy-counters.h"
#include "policy-verdict.h"

/* With this bit, the entry of an endpoint has the tables of all policies, those that are tried out among them. */
enum endpoint_mark { ENDPOINT_ENFORCED = 0, ENDPOINT_TRIED = 1U << 31 };

/* Who, with whom, to which port. */
struct trial_key {
	__u32 ifindex;
	__u16 port; /* of the end that is asked; ICMP's type */
	__u8 protocol;
	__u8 opened; /* enum flow_direction */
	__u64 high, low; /* the other end */
};
_Static_assert(sizeof(struct trial_key) == 24, "map ABI: regenerate the codecs");

struct trial {
	__u64 flows;
	__u64 seen_ns; /* monotonic */
	__u64 serial; /* of the table that was asked last */
	__u32 rule; /* of that table; 0: what no rule allows */
	__u32 would_drop; /* 0: it would pass, and does not */
};
_Static_assert(sizeof(struct trial) == 32, "map ABI: regenerate the codecs");

struct trial_totals {
	__u64 asked;
	__u64 would_drop;
	__u64 would_pass;
	__u64 lost; /* there was no room in `trials` */
};
_Static_assert(sizeof(struct trial_totals) == 32, "map ABI: regenerate the codecs");

/* What would differ. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct trial_key);
	__type(value, struct trial);
	__uint(max_entries, 1); /* from user space */
	__uint(map_flags, BPF_F_NO_PREALLOC);
} trials SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct trial_totals);
	__uint(max_entries, 1);
} trial_totals SEC(".maps");

/* Not on the stack, which is full. */
struct trial_work {
	struct ruling enforced;
	struct ruling tried;
	struct trial_key key;
	struct trial trial;
	__u8 is_tried;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct trial_work);
	__uint(max_entries, 1);
} trial_works SEC(".maps");

const volatile bool tries_policies;

static __always_inline struct trial_work *trial_in_hand(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&trial_works, &zero);
}

static __always_inline void count_trial(__u32 bytes, const struct work *work, struct trial_work *mine)
{
	__u32 zero = 0;
	struct trial_totals *totals = bpf_map_lookup_elem(&trial_totals, &zero);
	struct trial *known;

	if (!totals)
		return;
	totals->asked += 1;
	if (mine->tried.rule && mine->tried.rule != mine->enforced.rule)
		count_slot(work->counters, mine->tried.rule, bytes);
	if (!mine->tried.drops == !mine->enforced.drops)
		return;
	if (mine->tried.drops)
		totals->would_drop += 1;
	else
		totals->would_pass += 1;
	mine->key = (struct trial_key){
		.ifindex = work->view.key.ifindex,
		.port = work->port,
		.protocol = work->view.key.protocol,
		.opened = work->opened,
		.high = work->high,
		.low = work->low,
	};
	known = bpf_map_lookup_elem(&trials, &mine->key);
	if (known) {
		__sync_fetch_and_add(&known->flows, 1);
		known->seen_ns = work->now_ns;
		known->serial = work->serial;
		known->rule = mine->tried.rule;
		known->would_drop = mine->tried.drops;
		return;
	}
	mine->trial.flows = 1;
	mine->trial.seen_ns = work->now_ns;
	mine->trial.serial = work->serial;
	mine->trial.rule = mine->tried.rule;
	mine->trial.would_drop = mine->tried.drops;
	if (bpf_map_update_elem(&trials, &mine->key, &mine->trial, BPF_NOEXIST))
		totals->lost += 1;
}

/*
 * What all policies together say of what opens a flow, into `tried`. Global, so that the verifier follows it once. Leaves
 * the ruling of the work in hand as it was.
 */
__noinline int ask_tried(__u32 ifindex)
{
	struct work *work = work_in_hand();
	struct trial_work *mine = trial_in_hand();
	struct table_view in_force;

	if (!tries_policies || !work || !mine)
		return 0;
	mine->is_tried = false;
	if (!open_table(&in_force) || in_force.header->serial != work->serial)
		return 0;
	mine->enforced = work->ruling;
	find_endpoint(&in_force, ifindex | ENDPOINT_TRIED, work);
	forget();
	if (!work->is_known) {
		work->ruling = mine->enforced;
		return 0;
	}
	mine->is_tried = true;
	work->ruling = (struct ruling){ .reason = REASON_UNRESTRICTED };
	remote_words(&work->view, &work->high, &work->low);
	forget();
	find_class(&in_force, work);
	forget();
	work->space = port_space_of(work->view.key.protocol, work->view.is_ipv6);
	if (work->space == PORTS_OTHERS)
		work->port = work->view.key.protocol;
	forget();
#pragma clang loop unroll(disable)
	for (__u32 tier = 0; tier < POLICY_TIERS; tier++) {
		__u32 at = work->tables[tier];

		if (!at || !ask_table(&in_force, at, work))
			break;
	}
	forget();
	mine->tried = work->ruling;
	work->ruling = mine->enforced;
	return 0;
}

/* False: nothing is tried out on the endpoint. */
static __always_inline bool ask_tried_and_names(struct work *work, struct trial_work *mine)
{
	__u32 ifindex = work->view.key.ifindex;

	forget();
	ask_tried(ifindex);
	forget();
	if (!heeds_names || !mine->is_tried || mine->tried.reason != REASON_DEFAULT_DENY ||
	    work->opened != FLOW_EGRESS || !find_names(ifindex))
		return mine->is_tried;
	forget();
	work->is_by_name = true;
	ask_tried(ifindex);
	work->is_by_name = false;
	forget();
	return mine->is_tried;
}

static __always_inline void try_policies(__u32 bytes, struct work *work)
{
	struct trial_work *mine;

	if (!tries_policies)
		return;
	mine = trial_in_hand();
	if (!mine)
		return;
	mine->is_tried = false;
	if (work->view.kind != PACKET_OF_FLOW && work->view.kind != PACKET_ALONE)
		return;
	if (ask_tried_and_names(work, mine) && !dry_run)
		count_trial(bytes, work, mine);
	forget();
}

/* Names that all policies together let the packet in hand ask for, as in struct ranked_rule; none of them is refused. */
static __always_inline __u32 tried_names(struct work *work)
{
	struct trial_work *mine;

	if (!tries_policies)
		return 0;
	mine = trial_in_hand();
	if (!mine || !ask_tried_and_names(work, mine) || mine->tried.drops)
		return 0;
	return mine->tried.names;
}

/* Whether a flow goes on record: of what is tried out too, so that each is asked about once. */
static __always_inline bool keeps_record(const struct work *work)
{
	struct trial_work *mine;

	if (work->ruling.is_restricted || !tries_policies)
		return work->ruling.is_restricted;
	mine = trial_in_hand();
	return mine && mine->is_tried;
}
