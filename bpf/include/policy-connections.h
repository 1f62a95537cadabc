/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many connections of TCP and SCTP an endpoint has open, whoever opened them. */
#pragma once

#include "policy-opening.h"

/* What each end says is in a byte of its own, for they may say it at the same moment. */
enum connection_state {
	CONNECTION_NEW = 0,
	CONNECTION_ANSWERED = 1,
	CONNECTION_CONFIRMED = 2, /* who opened it went on with it after the answer */
	CONNECTION_LOCAL_FIN = 1 << 8,
	CONNECTION_REMOTE_FIN = 1 << 16,
	CONNECTION_RESET = 1 << 24, /* the other end says that it is over: it is not counted */
};

struct connection {
	__u64 seen_ns; /* monotonic; of a packet that went the longer way */
	__u32 state; /* enum connection_state */
	__u32 unused;
};

/* Each of them is one that is counted, but for those with CONNECTION_RESET. User space removes what has been still. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct flow_key);
	__type(value, struct connection);
	__uint(max_entries, 1); /* from user space */
	__uint(map_flags, BPF_F_NO_PREALLOC);
} connections SEC(".maps");

struct connection_count {
	__u64 opened, closed;
};

/* By the index of the interface. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct connection_count);
	__uint(max_entries, 1); /* from user space */
} connection_counts SEC(".maps");

/* The same, of those that user space removed: programs only read it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __s64);
	__uint(max_entries, 1); /* from user space */
} connections_aged SEC(".maps");

/* Writes one byte. What two CPUs do not see of each other, the packet sees that acknowledges it. */
static __always_inline void mark_connection(struct connection *connection, __u32 state)
{
	__u32 at = state >> 24 ? 3 : state >> 16 ? 2 : state >> 8 ? 1 : 0;

	((volatile __u8 *)&connection->state)[at] = state >> (at * 8);
}

/* In struct flow: whether each packet goes the longer way, or only those that end it and one now and then. */
enum flow_connection { FLOW_UNCOUNTED = 0, FLOW_WATCHED = 1, FLOW_SETTLED = 2 };

static __always_inline bool is_connection(const struct packet_view *view)
{
	return view->kind == PACKET_OF_FLOW && (view->key.protocol == IPPROTO_TCP || view->key.protocol == NEXT_SCTP);
}

static __always_inline bool asks_for_connection(const struct packet_view *view)
{
	return is_connection(view) && (view->key.protocol != IPPROTO_TCP || opens(view));
}

/* A packet of a flow that run_known() leaves to the longer way. */
static __always_inline bool is_watched(const struct flow *flow, __u8 tcp_flags)
{
	return flow->connection && (flow->connection != FLOW_SETTLED || tcp_flags & (TCP_FIN | TCP_RST));
}

static __always_inline struct connection_count *count_of(const __u32 *ifindex)
{
	struct connection_count none = {}, *count = bpf_map_lookup_elem(&connection_counts, ifindex);

	if (count || dry_run)
		return count;
	bpf_map_update_elem(&connection_counts, ifindex, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&connection_counts, ifindex);
}

static __always_inline bool add_connection(struct work *work, __u32 state)
{
	struct connection fresh = { .seen_ns = flow_clock(), .state = state };
	struct connection_count *count = count_of(&work->view.key.ifindex);

	if (!count || bpf_map_update_elem(&connections, &work->view.key, &fresh, BPF_NOEXIST))
		return false;
	__sync_fetch_and_add(&count->opened, 1);
	return true;
}

static __always_inline void close_connection(struct work *work)
{
	struct connection_count *count = count_of(&work->view.key.ifindex);

	if (count)
		__sync_fetch_and_add(&count->closed, 1);
}

static __always_inline void end_connection(struct work *work)
{
	/* One of those that do it at the same time. */
	if (!bpf_map_delete_elem(&connections, &work->view.key))
		close_connection(work);
}

/*
 * A packet that asks for a connection, which is counted if it `begins_now`. 0: the endpoint has as many, or there is no room for
 * more on this node. At the limit each CPU may let one more begin at once. Global, so that the verifier follows it once.
 */
__noinline int begin_connection(__u32 most, __u32 begins_now)
{
	struct work *work = work_in_hand();
	struct connection_count *count;
	struct connection *known;
	__s64 *aged, open = 0;

	if (!work)
		return 1;
	known = bpf_map_lookup_elem(&connections, &work->view.key);
	if (known && !(known->state & CONNECTION_RESET)) {
		/* It asks again, or for another one of the same ports. */
		if (begins_now && !dry_run) {
			known->seen_ns = flow_clock();
			known->state = CONNECTION_NEW;
		}
		return 1;
	}
	count = count_of(&work->view.key.ifindex);
	aged = bpf_map_lookup_elem(&connections_aged, &work->view.key.ifindex);
	if (count)
		open = count->opened - count->closed - (aged ? *aged : 0);
	if (open >= (__s64)most)
		return 0;
	if (dry_run || !begins_now)
		return 1;
	if (!known)
		return add_connection(work, CONNECTION_NEW);
	known->seen_ns = flow_clock();
	known->state = CONNECTION_NEW;
	if (count)
		__sync_fetch_and_add(&count->opened, 1);
	return 1;
}

/*
 * A packet of a flow on record. What has no connection, since it is older than the limit or was still for too long, gets
 * one by what the endpoint itself sends: anybody can make up the packets of others.
 */
__noinline int follow_connection(__u32 now_flags)
{
	struct work *work = work_in_hand();
	struct connection *known;
	__u64 now_ns = flow_clock();
	struct flow *flow;
	__u32 state;

	if (!work)
		return 0;
	flow = find_flow(&work->view.key, work->view.is_ipv6);
	known = bpf_map_lookup_elem(&connections, &work->view.key);
	if (!flow)
		return 0;
	if (!known) {
		if (!work->leaves || now_flags & (TCP_FIN | TCP_SYN | TCP_RST) || flow->state == FLOW_CLOSING ||
		    flow->flags & FLOW_DENIED)
			return 0;
		if (add_connection(work, CONNECTION_ANSWERED | CONNECTION_CONFIRMED))
			flow->connection = FLOW_SETTLED;
		return 0;
	}
	if (flow->flags & FLOW_DENIED) {
		flow->connection = FLOW_UNCOUNTED;
		if (!(known->state & CONNECTION_RESET))
			end_connection(work);
		return 0;
	}
	state = known->state;
	if (state & CONNECTION_RESET) {
		/* What was on its way is over by then: the endpoint did not take it for the end. */
		if (!work->leaves || now_flags & (TCP_FIN | TCP_RST) || now_ns - known->seen_ns < SECOND_NS)
			return 0;
		bpf_map_delete_elem(&connections, &work->view.key);
		add_connection(work, CONNECTION_ANSWERED | CONNECTION_CONFIRMED);
		return 0;
	}
	known->seen_ns = now_ns;
	if (now_flags & TCP_RST) {
		flow->connection = FLOW_WATCHED;
		if (work->leaves) {
			end_connection(work);
		} else {
			mark_connection(known, CONNECTION_RESET);
			close_connection(work);
		}
		return 0;
	}
	if (now_flags & TCP_FIN && work->leaves)
		mark_connection(known, CONNECTION_LOCAL_FIN);
	else if (now_flags & TCP_FIN)
		mark_connection(known, CONNECTION_REMOTE_FIN);
	if ((flow->opened == FLOW_EGRESS) == work->leaves) {
		if (state & CONNECTION_ANSWERED)
			mark_connection(known, CONNECTION_ANSWERED | CONNECTION_CONFIRMED);
	} else if (!(state & CONNECTION_ANSWERED)) {
		mark_connection(known, CONNECTION_ANSWERED);
	}
	state = *(volatile __u32 *)&known->state;
	if ((state & (CONNECTION_LOCAL_FIN | CONNECTION_REMOTE_FIN)) == (CONNECTION_LOCAL_FIN | CONNECTION_REMOTE_FIN))
		end_connection(work);
	flow->connection = state == (CONNECTION_ANSWERED | CONNECTION_CONFIRMED) ? FLOW_SETTLED : FLOW_WATCHED;
	return 0;
}
