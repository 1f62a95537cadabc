/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Longest-prefix match in a sealed list: a multiway trie after Asai and Ohara's Poptrie (SIGCOMM 2015),
 * with paths compressed. packages/features/src/filter/prefix-trie.ts writes it; both say the layout.
 *
 * The whole trie is 64-bit words in one array map, cut into chunks that no node crosses. A slot is 32
 * bits: a rule index (0: none), or TRIE_NODE and the word where a node stands. The first
 * 1 << direct_bits slots are the root, indexed by the bits behind the path that all prefixes share.
 *
 * A node skips up to 63 bits that must equal its path (else its fallback is the answer), and decides
 * by the next six. Of its 64 slots only the first of each run of equal ones is stored; `runs` has a bit
 * where a run starts, so the number of bits up to a slot tells which.
 */
#pragma once

#include "network.h"

#define TRIE_NODE 0x80000000U
#define TRIE_CHUNK_WORDS 16384
#define TRIE_STRIDE 6
/* Words of the largest node; every chunk ends with as many, so that one check covers a node. */
#define TRIE_NODE_WORDS 35
/* Strides that 128 bits have at most. */
#define TRIE_DEPTH_IPV4 6
#define TRIE_DEPTH_IPV6 22

struct trie_node {
	__u64 runs;
	__u64 path; /* left-aligned */
	__u32 fallback;
	__u32 skip;
	__u32 slots[64]; /* as many as `runs` has bits */
};

/* Known before load, so that the verifier sees constants. */
struct trie {
	void *words; /* map of chunks */
	__u64 root_path;
	__u32 root_skip;
	__u32 direct_bits;
	__u32 last_node; /* last word of a chunk at which a node may start */
};

static __always_inline __u32 count_bits(__u64 bits)
{
	bits -= bits >> 1 & 0x5555555555555555ULL;
	bits = (bits & 0x3333333333333333ULL) + (bits >> 2 & 0x3333333333333333ULL);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return bits * 0x0101010101010101ULL >> 56;
}

/* Drops the first `count` bits, at most 63. */
static __always_inline void shift_address(struct address *address, __u32 count, bool is_long)
{
	address->high <<= count;
	if (!is_long)
		return;
	address->high |= address->low >> 1 >> (63 - count);
	address->low <<= count;
}

static __always_inline bool differs(__u64 bits, __u64 path, __u32 count)
{
	return (bits ^ path) >> (63 - count) >> 1 != 0;
}

/* Rule index of the longest prefix that holds the address; 0 if none does. */
static __always_inline __u32 trie_find(const struct trie *trie, struct address address, bool is_long)
{
	int depth = is_long ? TRIE_DEPTH_IPV6 : TRIE_DEPTH_IPV4;
	__u32 slot, index, chunk;
	void *words;

	if (differs(address.high, trie->root_path, trie->root_skip))
		return 0;
	shift_address(&address, trie->root_skip, is_long);
	index = address.high >> (64 - trie->direct_bits);
	chunk = index / (TRIE_CHUNK_WORDS * 2);
	words = bpf_map_lookup_elem(trie->words, &chunk);
	if (!words)
		return 0;
	slot = ((__u32 *)words)[index % (TRIE_CHUNK_WORDS * 2)];
	shift_address(&address, trie->direct_bits, is_long);
#pragma clang loop unroll(disable)
	for (int level = 0; level < depth && slot & TRIE_NODE; level++) {
		const struct trie_node *node;
		__u32 word = slot & ~TRIE_NODE, within = word % TRIE_CHUNK_WORDS;

		chunk = word / TRIE_CHUNK_WORDS;
		words = bpf_map_lookup_elem(trie->words, &chunk);
		if (!words || within > trie->last_node)
			return 0;
		node = words + within * 8;
		if (differs(address.high, node->path, node->skip & 63))
			return node->fallback;
		shift_address(&address, node->skip & 63, is_long);
		index = address.high >> (64 - TRIE_STRIDE);
		slot = node->slots[(count_bits(node->runs << (63 - index)) - 1) & 63];
		shift_address(&address, TRIE_STRIDE, is_long);
	}
	return slot & TRIE_NODE ? 0 : slot;
}
