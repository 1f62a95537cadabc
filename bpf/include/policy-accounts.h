/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What each endpoint receives and sends, where somebody asks for it. */
#pragma once

#include "policy-flow.h"

#include <linux/in.h>

struct account {
	/* That passed. */
	__u64 received_packets, received_bytes;
	__u64 sent_packets, sent_bytes;
	/* That did not, in either direction. */
	__u64 refused_packets;
	/* That came in, whatever became of them. */
	__u64 tcp_packets, udp_packets;
	/* Of those that came in: refused by a table of ports. */
	__u64 blocked_packets;
};
_Static_assert(sizeof(struct account) == 64, "map ABI: regenerate the codecs");

/* By the index of the interface. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__type(key, __u32);
	__type(value, struct account);
	__uint(max_entries, 1); /* from user space */
} accounts SEC(".maps");

const volatile bool keeps_accounts;

/* Not on the stack, which is full. */
static const struct account no_account;

static __always_inline struct account *account_of(const __u32 *ifindex)
{
	struct account *account = bpf_map_lookup_elem(&accounts, ifindex);

	if (account)
		return account;
	bpf_map_update_elem(&accounts, ifindex, &no_account, BPF_NOEXIST);
	return bpf_map_lookup_elem(&accounts, ifindex);
}

static __always_inline void keep_account(const struct flow_key *key, enum flow_direction direction, __u64 bytes,
					 bool passes, bool is_blocked)
{
	struct account *account;

	if (!keeps_accounts || dry_run)
		return;
	account = account_of(&key->ifindex);
	if (!account)
		return;
	if (!passes) {
		account->refused_packets += 1;
	} else if (direction == FLOW_INGRESS) {
		account->received_packets += 1;
		account->received_bytes += bytes;
	} else {
		account->sent_packets += 1;
		account->sent_bytes += bytes;
	}
	if (direction != FLOW_INGRESS)
		return;
	account->blocked_packets += !passes & is_blocked;
	account->tcp_packets += key->protocol == IPPROTO_TCP;
	account->udp_packets += key->protocol == IPPROTO_UDP;
}
