/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Of a packet between two pods of one node both ends are judged, one after the other, and the table may change in
 * between. What an endpoint sends carries which table judged it; another one does not let it reach an endpoint.
 * It is carried in tc_index, which goes with a packet through forwarding and bridges and ends with the network namespace.
 */
#pragma once

#include "policy-work.h"

/* 16 bits of the serial, never 0; of no table 0. */
static __always_inline __u32 edition_of(__u64 serial)
{
	__u32 low = serial & 0xffff;

	return low ? low : serial != 0;
}

static __always_inline void leave(struct __sk_buff *skb, __u64 serial)
{
	if (!dry_run)
		skb->tc_index = edition_of(serial);
}

/* False: the table that judged it as it was sent is not this one. */
static __always_inline bool arrive(struct __sk_buff *skb, __u64 serial)
{
	__u32 edition = skb->tc_index;

	if (!edition)
		return true;
	if (serial && edition != edition_of(serial))
		return false;
	if (!dry_run)
		skb->tc_index = 0;
	return true;
}
