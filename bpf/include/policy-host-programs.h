/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Judges what the node itself receives and sends; the last part of policy.bpf.c. */
#pragma once

static __noinline int run_known_host_ingress(struct __sk_buff *skb)
{
	return run_known(skb, FLOW_INGRESS, true);
}

static __noinline int run_known_host_egress(struct __sk_buff *skb)
{
	return run_known(skb, FLOW_EGRESS, true);
}

__noinline int meet_host_ingress(struct __sk_buff *skb)
{
	return meet(skb, FLOW_INGRESS, true);
}

__noinline int meet_host_egress(struct __sk_buff *skb)
{
	return meet(skb, FLOW_EGRESS, true);
}

static __always_inline int judge_host(struct __sk_buff *skb, enum flow_direction direction)
{
	int met = direction == FLOW_INGRESS ? meet_host_ingress(skb) : meet_host_egress(skb);

	if (met == MET_FORWARDED)
		return dry_run ? conclude(skb) : TCX_NEXT;
	if (met == MET_NOTHING)
		decide(skb);
	let_pass(skb);
	return conclude(skb);
}

/* What comes in by an interface of the node. */
SEC("tc")
int host_ingress(struct __sk_buff *skb)
{
	int verdict;

	if (is_of_vlan(skb))
		return TCX_NEXT;
	verdict = run_known_host_ingress(skb);
	return verdict == NOT_KNOWN ? judge_host(skb, FLOW_INGRESS) : verdict;
}

/* What leaves by one. */
SEC("tc")
int host_egress(struct __sk_buff *skb)
{
	int verdict;

	if (is_of_vlan(skb))
		return TCX_NEXT;
	verdict = run_known_host_egress(skb);
	return verdict == NOT_KNOWN ? judge_host(skb, FLOW_EGRESS) : verdict;
}
