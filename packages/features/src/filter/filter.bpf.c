// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Drops by address, limits by source, lets replies through, marks. README.md says what each packet
 * meets and in which order. What a declaration does not use is dead code to the verifier.
 */
#include "dscp.h"
#include "flow.h"
#include "prefix-trie.h"
#include "settle.h"
#include "token-bucket.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The map index is the reason; packets pass up to REASON_REPLY. Faults follow REASON_FAULT. */
enum filter_reason {
	REASON_ALLOWED,
	REASON_NOT_IP,
	REASON_REPLY,
	REASON_BLACKLIST,
	REASON_BLACKLIST_MAP,
	REASON_RATE_LIMITED,
	REASON_FAULT = 31,
};
EXPORT_TYPE(enum, filter_reason);

/* For user space, which gives maps that a declaration uses their size; others stay as small as they can be. */
enum filter_size {
	SIZE_BUCKET_SETS = BUCKET_SETS,
	SIZE_FLOWS = FLOW_COUNT,
	SIZE_TICKS_PER_NS = TICKS_PER_NS,
	SIZE_TRIE_CHUNK_WORDS = TRIE_CHUNK_WORDS,
	SIZE_TRIE_NODE_WORDS = TRIE_NODE_WORDS,
};
EXPORT_TYPE(enum, filter_size);

/* The program's own list: one trie per address family. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} list4 SEC(".maps"), list6 SEC(".maps");

const volatile bool has_list4, has_list6;
const volatile __u64 list4_path, list6_path;
const volatile __u32 list4_skip, list6_skip;
const volatile __u32 list4_bits, list6_bits;
const volatile __u32 list4_last_node, list6_last_node;
const volatile __u32 list4_depth, list6_depth;

/* Lists that others change while the program runs: EBPFMap objects. Value 1 blocks. */
struct live_key4 {
	__u32 prefix_length;
	__be32 address;
};

struct live_key6 {
	__u32 prefix_length;
	__be32 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct live_key4);
	__type(value, __u32);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} live4_a SEC(".maps"), live4_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct live_key6);
	__type(value, __u32);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} live6_a SEC(".maps"), live6_b SEC(".maps");

#define LIVE_BLOCKS 1

/* Rule indices of the maps in use; 0: not in use. */
const volatile __u32 live4_a_rule, live4_b_rule, live6_a_rule, live6_b_rule;

const volatile __u32 rate_rule; /* 0: no limit */
const volatile __u64 rate_cost; /* ticks of one packet */
const volatile __u64 hash_seed;
const volatile bool is_stateful;

const volatile __u32 mark_mask, mark_value;
const volatile bool has_dscp, has_priority;
const volatile __u8 dscp;
const volatile bool starts_at_network;

static __always_inline __u32 find_in_list(enum network network, struct address address)
{
	if (network == NETWORK_IPV4) {
		struct trie trie = { &list4, list4_path, list4_skip, list4_bits, list4_last_node, list4_depth };

		return has_list4 ? trie_find(&trie, address, false) : 0;
	}
	struct trie trie = { &list6, list6_path, list6_skip, list6_bits, list6_last_node, list6_depth };

	return has_list6 ? trie_find(&trie, address, true) : 0;
}

static __always_inline bool blocks(void *map, const void *key)
{
	__u32 *action = bpf_map_lookup_elem(map, key);

	return action && *action == LIVE_BLOCKS;
}

/* Rule index of the map that blocks the address; 0 if none does. */
static __always_inline __u32 find_in_maps(enum network network, struct address address)
{
	if (network == NETWORK_IPV4) {
		struct live_key4 key = { 32, bpf_htonl(address.high >> 32) };

		if (live4_a_rule && blocks(&live4_a, &key))
			return live4_a_rule;
		if (live4_b_rule && blocks(&live4_b, &key))
			return live4_b_rule;
		return 0;
	}
	struct live_key6 key = {
		128,
		{ bpf_htonl(address.high >> 32), bpf_htonl(address.high), bpf_htonl(address.low >> 32),
		  bpf_htonl(address.low) },
	};

	if (live6_a_rule && blocks(&live6_a, &key))
		return live6_a_rule;
	if (live6_b_rule && blocks(&live6_b, &key))
		return live6_b_rule;
	return 0;
}

static __always_inline void decide(struct decision *out, enum verdict verdict, __u32 reason, __u32 rule)
{
	out->verdict = verdict;
	out->reason = reason;
	out->rule = rule;
	out->opens_flow = false;
}

enum direction { ARRIVES, LEAVES };

static __always_inline void judge(const struct packet *packet, enum direction direction, bool tracks,
				  struct network_header *network, struct decision *out)
{
	struct transport_header transport;
	enum fault fault = read_network(packet, network);
	__u64 now_ns;
	__u32 rule;

	out->network = network->network;
	out->address = (struct address){};
	if (fault)
		return decide(out, VERDICT_DROP, REASON_FAULT + fault, 0);
	if (network->network == NETWORK_NONE)
		return decide(out, VERDICT_PASS, REASON_NOT_IP, 0);
	out->address = direction == ARRIVES ? network->source : network->destination;
	rule = find_in_list(network->network, out->address);
	if (rule)
		return decide(out, VERDICT_DROP, REASON_BLACKLIST, rule);
	rule = find_in_maps(network->network, out->address);
	if (rule)
		return decide(out, VERDICT_DROP, REASON_BLACKLIST_MAP, rule);
	fault = read_transport(packet, network, &transport);
	if (fault)
		return decide(out, VERDICT_DROP, REASON_FAULT + fault, 0);
	if (!rate_rule)
		return decide(out, VERDICT_PASS, REASON_ALLOWED, 0);
	now_ns = bpf_ktime_get_ns();
	if (is_stateful && direction == ARRIVES && is_reply(network, &transport, now_ns))
		return decide(out, VERDICT_PASS, REASON_REPLY, 0);
	out->address = network->source;
	if (!take_token(packet, bucket_source(network->network, network->source.high), hash_seed,
			now_ns * TICKS_PER_NS, rate_cost, !dry_run))
		return decide(out, VERDICT_DROP, REASON_RATE_LIMITED, rate_rule);
	if (tracks && is_stateful && !dry_run)
		track_flow(network, &transport, now_ns);
	return decide(out, VERDICT_PASS, REASON_ALLOWED, 0);
}

static __always_inline void mark(struct __sk_buff *skb, const struct packet *packet, struct network_header *network)
{
	if (mark_mask)
		skb->mark = (skb->mark & ~mark_mask) | mark_value;
	if (network->network == NETWORK_NONE)
		return;
	if (has_dscp && packet->source == PACKET_TC)
		network->first_word = write_dscp(skb, network->offset, network->network == NETWORK_IPV4,
						 network->first_word, dscp);
	/* The class selector: the upper three bits of the DSCP. */
	if (has_priority)
		skb->priority = (network->network == NETWORK_IPV4 ? network->first_word >> 5 : network->first_word >> 9) & 7;
}

static __always_inline int filter_skb(struct __sk_buff *skb, enum packet_source source, enum direction direction,
				      bool tracks)
{
	struct packet packet = packet_of_skb(skb, source);
	struct network_header network;
	struct decision decision;

	if (source == PACKET_TC)
		packet.starts_at_network = starts_at_network;
	judge(&packet, direction, tracks, &network, &decision);
	if (decision.verdict == VERDICT_PASS && !dry_run)
		mark(skb, &packet, &network);
	return settle(&packet, &decision);
}

SEC("xdp")
int filter_xdp(struct xdp_md *ctx)
{
	struct packet packet = packet_of_xdp(ctx);
	struct network_header network;
	struct decision decision;

	packet.starts_at_network = starts_at_network;
	judge(&packet, ARRIVES, false, &network, &decision);
	return settle(&packet, &decision);
}

SEC("tc")
int filter_ingress(struct __sk_buff *skb)
{
	return filter_skb(skb, PACKET_TC, ARRIVES, false);
}

SEC("tc")
int filter_egress(struct __sk_buff *skb)
{
	return filter_skb(skb, PACKET_TC, LEAVES, false);
}

/* Remembers what leaves by the interface whose ingress is filtered statefully; judges nothing. */
SEC("tc")
int filter_track(struct __sk_buff *skb)
{
	struct packet packet = packet_of_skb(skb, PACKET_TC);
	struct decision decision = { .verdict = VERDICT_PASS, .reason = REASON_ALLOWED };
	struct transport_header transport;
	struct network_header network;

	if (dry_run)
		return settle(&packet, &decision);
	packet.starts_at_network = starts_at_network;
	if (!read_network(&packet, &network) && network.network != NETWORK_NONE &&
	    !read_transport(&packet, &network, &transport))
		track_flow(&network, &transport, bpf_ktime_get_ns());
	return TCX_NEXT;
}

SEC("cgroup_skb/ingress")
int filter_cg_in(struct __sk_buff *skb)
{
	return filter_skb(skb, PACKET_CGROUP, ARRIVES, false);
}

SEC("cgroup_skb/egress")
int filter_cg_out(struct __sk_buff *skb)
{
	return filter_skb(skb, PACKET_CGROUP, LEAVES, true);
}
