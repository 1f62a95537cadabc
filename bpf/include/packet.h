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

/* The program was loaded to take packets in fragments (Linux 5.18); their headers lie in the first one. */
const volatile bool takes_fragments;

struct packet {
	void *ctx; /* struct xdp_md or struct __sk_buff */
	void *data;
	void *data_end; /* of what can be read directly; an skb may go on behind it */
	__u32 length;
	enum packet_source source;
	/* Not 0: the kernel cuts it into several packets later, or has joined them; length fields may be 0. */
	__u32 gso_size;
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
		.length = takes_fragments ? bpf_xdp_get_buff_len(ctx) : data_end - data,
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
		.gso_size = skb->gso_size,
		.starts_at_network = source == PACKET_CGROUP,
	};
}

/*
 * The same value, of which the verifier only knows that it is at most `mask` (all ones): what follows is
 * then verified once, and not once for each way that leads there. Packets are shorter than 16 MiB, so
 * what is added is 0.
 */
static __always_inline __u32 blur(const struct packet *packet, __u32 value, __u32 mask)
{
	return (value + (packet->length >> 24) * 0x01010101U) & mask;
}

/* All ones if the value is 0, else none. Arithmetic, for a comparison would double the verifier's paths. */
static __always_inline __u32 ones_if_zero(__u32 value)
{
	__u64 wide = value;

	asm volatile("" : "+r"(wide));
	return (wide - 1) >> 32;
}

/* What a length field says of the bytes from `offset` on. */
static __always_inline __u32 told_length(const struct packet *packet, __u32 offset, __u32 told)
{
	if (packet->source == PACKET_XDP)
		return told;
	return told | ((packet->length - offset) & ones_if_zero(told) & ~ones_if_zero(packet->gso_size));
}

/*
 * The header at `offset`. In an skb it may lie behind the linear part, so there it is copied; reading
 * it in place where it does not would be two paths to the verifier, for every header. In a frame the
 * bounds are read anew: how far earlier headers reached would keep the verifier from seeing that paths
 * are the same from here on, and all that follows would be verified once for each number of tags.
 */
static __always_inline void *header_at(const struct packet *packet, __u32 offset, void *copy, __u32 size)
{
	const volatile struct xdp_md *frame = packet->ctx;
	void *header;

	if (packet->source != PACKET_XDP)
		return bpf_skb_load_bytes(packet->ctx, offset, copy, size) ? NULL : copy;
	header = (void *)(long)frame->data + offset;
	if (header + size > (void *)(long)frame->data_end)
		return NULL;
	__builtin_assume(header != NULL);
	return header;
}
