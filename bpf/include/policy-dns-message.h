/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads messages of DNS as they pass an endpoint: the header, the question, and names wherever they stand. RFC 1035,
 * over UDP in one datagram.
 */
#pragma once

#include "policy-names.h"

#define DNS_HEADER 12
#define DNS_OPCODE 0x7800
#define DNS_CLASS_IN 1

#define NAME_CHARACTERS 253
/* Bytes of a name, and pointers, each of which must lead further to the front. */
#define NAME_STEPS 300

static __always_inline __u32 byte_at(const struct names_work *hand, __u32 at)
{
	asm volatile("" : "+r"(at));
	return hand->message[at & (DNS_BYTES - 1)];
}

static __always_inline __u32 half_at(const struct names_work *hand, __u32 at)
{
	return byte_at(hand, at) << 8 | byte_at(hand, at + 1);
}

static __always_inline __u32 word_at(const struct names_work *hand, __u32 at)
{
	return half_at(hand, at) << 16 | half_at(hand, at + 2);
}

static __always_inline __u64 word_of(const struct known_name *name, __u32 at)
{
	return ((const __u64 *)name->text)[at];
}

static __always_inline void hash_name(struct names_work *hand)
{
	__u64 hash = hand->name.length;

#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < NAME_BYTES / 8; at++) {
		hash = (hash ^ word_of(&hand->name, at)) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 29;
	}
	hand->hash = hash | 1;
}

/* Into the name in hand, with its hash. Where what follows stands; 0: it cannot be read. */
__noinline int read_name(__u32 at)
{
	struct names_work *hand = names_in_hand();

	if (!heeds_names || !hand)
		return 0;
	__builtin_memset(&hand->name, 0, sizeof(hand->name));
	hand->at = at;
	hand->lowest = at;
	hand->left = 0;
	hand->after = 0;
#pragma clang loop unroll(disable)
	for (__u32 step = 0; step < NAME_STEPS; step++) {
		__u32 here, byte, length;

		forget();
		here = hand->at;
		if (here >= hand->length)
			return 0;
		byte = byte_at(hand, here);
		hand->at = here + 1;
		length = hand->name.length;
		if (hand->left) {
			byte |= (byte - 'A' < 26U) << 5;
			if (!name_symbol(byte) || byte == '.')
				return 0;
			hand->left -= 1;
		} else if (byte >= 0xc0) {
			if (here + 1 >= hand->length)
				return 0;
			byte = (byte & 0x3f) << 8 | byte_at(hand, here + 1);
			if (byte >= hand->lowest)
				return 0;
			if (!hand->after)
				hand->after = here + 2;
			hand->lowest = byte;
			hand->at = byte;
			continue;
		} else if (byte == 0) {
			if (!hand->after)
				hand->after = here + 1;
			forget();
			hash_name(hand);
			return hand->after;
		} else {
			if (byte > 63)
				return 0;
			hand->left = byte;
			if (!length)
				continue;
			byte = '.';
		}
		if (length >= NAME_CHARACTERS)
			return 0;
		asm volatile("" : "+r"(length));
		hand->name.text[length & (NAME_BYTES - 1)] = byte;
		hand->name.length = length + 1;
	}
	return 0;
}

/* Where the message of a datagram without anything unusual stands; 0: it is none. `is_ipv6` is of the packet in hand. */
static __always_inline __u32 find_message(struct __sk_buff *skb, struct names_work *hand, bool is_ipv6)
{
	__u32 offset = is_ipv6 ? 62 : 42;
	__u8 *header = hand->message;
	__u32 told;

	hand->is_fragment = false;
	if (skb->gso_size)
		return 0;
	if (is_ipv6) {
		if (bpf_skb_load_bytes(skb, 0, header, 62) < 0)
			return 0;
		forget();
		hand->is_fragment = half_at(hand, 12) == ETH_P_IPV6 && byte_at(hand, 20) == NEXT_FRAGMENT;
		if (half_at(hand, 12) != ETH_P_IPV6 || byte_at(hand, 20) != IPPROTO_UDP)
			return 0;
	} else {
		if (bpf_skb_load_bytes(skb, 0, header, 42) < 0)
			return 0;
		forget();
		hand->is_fragment = half_at(hand, 12) == ETH_P_IP && half_at(hand, 20) & ~IPV4_DONT_FRAGMENT;
		if (half_at(hand, 12) != ETH_P_IP || byte_at(hand, 14) != 0x45 ||
		    half_at(hand, 20) & ~IPV4_DONT_FRAGMENT || byte_at(hand, 23) != IPPROTO_UDP)
			return 0;
	}
	told = half_at(hand, offset - 4);
	if (told < 8 + DNS_HEADER || offset - 8 + told > skb->len)
		return 0;
	hand->length = lower(told - 8, DNS_BYTES);
	hand->is_cut = told - 8 > DNS_BYTES || told != half_at(hand, is_ipv6 ? 18 : 16) - (is_ipv6 ? 0 : 20);
	return offset;
}

/* Header and question into hand. Where the records begin; 0: it cannot be read. */
__noinline int read_message(struct __sk_buff *skb)
{
	struct names_work *hand = names_in_hand();
	struct work *work = work_in_hand();
	__u32 offset, length, after;

	if (!heeds_names || !hand || !work)
		return 0;
	offset = find_message(skb, hand, work->view.is_ipv6);
	if (!offset)
		return 0;
	forget();
	length = hand->length - 1;
	asm volatile("" : "+r"(length));
	if (bpf_skb_load_bytes(skb, offset, hand->message, (length & (DNS_BYTES - 1)) + 1) < 0)
		return 0;
	forget();
	hand->id = half_at(hand, 0);
	hand->flags = half_at(hand, 2);
	hand->records = half_at(hand, 6);
	if (half_at(hand, 4) != 1 || hand->flags & DNS_OPCODE)
		return 0;
	after = read_name(DNS_HEADER);
	forget();
	if (!after || after + 4 > hand->length)
		return 0;
	hand->type = half_at(hand, after);
	if (half_at(hand, after + 2) != DNS_CLASS_IN)
		return 0;
	/* A question is never compressed: there is nothing before it. */
	hand->key = (struct question_key){ .flow = work->view.key, .id = bpf_htons(hand->id) };
	return after + 4;
}
