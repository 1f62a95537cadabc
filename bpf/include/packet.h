/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet in hand, whatever hook it came by, and how its bytes are reached. Everything is inlined,
 * so `source` is a constant in every program and costs nothing.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include <stdbool.h>
#include <stddef.h>

enum packet_source { PACKET_XDP, PACKET_TC, PACKET_CGROUP };

struct packet {
	void *ctx; /* struct xdp_md or struct __sk_buff */
	void *data;
	void *data_end; /* of what can be read directly; an skb may go on behind it */
	__u32 length;
	enum packet_source source;
	/* The kernel cuts it into several packets later, or has joined them: length fields may be 0. */
	bool is_batch;
	/* There is no Ethernet header: a cgroup hook, or a device without link layer. */
	bool starts_at_network;
};

static __always_inline struct packet packet_of_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;

	return (struct packet){
		.ctx = ctx,
		.data = data,
		.data_end = data_end,
		.length = data_end - data,
		.source = PACKET_XDP,
	};
}

static __always_inline struct packet packet_of_skb(struct __sk_buff *skb, enum packet_source source)
{
	return (struct packet){
		.ctx = skb,
		.data = (void *)(long)skb->data,
		.data_end = (void *)(long)skb->data_end,
		.length = skb->len,
		.source = source,
		.is_batch = skb->gso_size != 0,
		.starts_at_network = source == PACKET_CGROUP,
	};
}

/*
 * The same value, of which the verifier only knows that it is at most `mask` (all ones, up to 16 of
 * them): what follows is then verified once, and not once for each way that leads there. Packets are
 * shorter than 16 MiB, so what is added is 0.
 */
static __always_inline __u32 blur(const struct packet *packet, __u32 value, __u32 mask)
{
	return (value + (packet->length >> 24) * 0x101) & mask;
}

/*
 * The header at `offset`. In an skb it may lie behind the linear part, so there it is copied; reading
 * it in place where it does not would be two paths to the verifier, for every header.
 */
static __always_inline void *header_at(const struct packet *packet, __u32 offset, void *copy, __u32 size)
{
	void *header = packet->data + offset;

	if (packet->source != PACKET_XDP)
		return bpf_skb_load_bytes(packet->ctx, offset, copy, size) ? NULL : copy;
	return header + size <= packet->data_end ? header : NULL;
}
