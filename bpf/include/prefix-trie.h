/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Longest-prefix match in a sealed list: a multiway trie after Asai and Ohara's Poptrie (SIGCOMM 2015),
 * with paths compressed. packages/features/src/filter/prefix-trie.ts writes it; both say the layout.
 *
 * The whole trie is 64-bit words in one array map, cut into chunks that no node crosses. A slot is one
 * word: bits that the address must have next (`path`, left-aligned, of which `skip` count), and then
 * either the rule (0: none) or the word at which a node decides by the six bits that follow. An address
 * without those bits gets the node's fallback, or no rule. The first 1 << direct_bits slots are the
 * root, indexed by the bits behind those that all prefixes share.
 *
 * Of a node's 64 slots only the first of each run of equal ones is stored; `runs` has a bit where a run
 * starts, so the number of bits up to a slot tells which.
 */
#pragma once

#include "network.h"

#define TRIE_CHUNK_WORDS 16384
#define TRIE_STRIDE 6
/* Words of the largest node; every chunk ends with as many, so that one check covers a node. */
#define TRIE_NODE_WORDS 66

#define TRIE_PATH 0xffffffff00000000ULL
#define TRIE_SKIP_SHIFT 26
#define TRIE_SKIP 63 /* at most 32 */
#define TRIE_IS_NODE (1U << 24)
#define TRIE_NUMBER 0xffffffU /* rule or word */

struct trie_node {
	__u64 runs;
	__u32 fallback;
	__u32 unused;
	__u64 slots[64]; /* as many as `runs` has bits */
};
_Static_assert(sizeof(struct trie_node) == TRIE_NODE_WORDS * 8, "one check must cover a node");

/* Known before load, so that the verifier sees constants. */
struct trie {
	void *words; /* map of chunks */
	__u64 root_path;
	__u32 root_skip;
	__u32 direct_bits;
	__u32 last_node; /* last word of a chunk at which a node may start */
	__u32 depth; /* nodes on the longest way down: the verifier follows no more */
};

static __always_inline __u32 count_bits(__u64 bits)
{
	bits -= bits >> 1 & 0x5555555555555555ULL;
	bits = (bits & 0x3333333333333333ULL) + (bits >> 2 & 0x3333333333333333ULL);
	bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return bits * 0x0101010101010101ULL >> 56;
}

/* Drops the first `count` bits, at most 63. */
static __always_inline void drop_bits(struct address *address, __u32 count, bool is_long)
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

/* Rule of the longest prefix that holds the address; 0 if none does. */
static __always_inline __u32 trie_find(const struct trie *trie, struct address address, bool is_long)
{
	__u32 index, chunk;
	__u64 *words, slot;

	if (differs(address.high, trie->root_path, trie->root_skip))
		return 0;
	drop_bits(&address, trie->root_skip, is_long);
	index = address.high >> (64 - trie->direct_bits);
	chunk = index / TRIE_CHUNK_WORDS;
	words = bpf_map_lookup_elem(trie->words, &chunk);
	if (!words)
		return 0;
	slot = words[index % TRIE_CHUNK_WORDS];
	drop_bits(&address, trie->direct_bits, is_long);
#pragma clang loop unroll(disable)
	for (__u32 level = 0; level <= trie->depth; level++) {
		__u32 skip = slot >> TRIE_SKIP_SHIFT & TRIE_SKIP, word = slot & TRIE_NUMBER, within;
		bool is_off = differs(address.high, slot & TRIE_PATH, skip);
		const struct trie_node *node;

		if (!(slot & TRIE_IS_NODE))
			return is_off ? 0 : word;
		within = word % TRIE_CHUNK_WORDS;
		chunk = word / TRIE_CHUNK_WORDS;
		words = bpf_map_lookup_elem(trie->words, &chunk);
		if (!words || within > trie->last_node)
			return 0;
		node = (void *)(words + within);
		if (is_off)
			return node->fallback;
		drop_bits(&address, skip, is_long);
		index = address.high >> (64 - TRIE_STRIDE);
		slot = node->slots[(count_bits(node->runs << (63 - index)) - 1) & 63];
		drop_bits(&address, TRIE_STRIDE, is_long);
	}
	return 0;
}
