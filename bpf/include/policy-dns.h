/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Questions and answers of DNS, as they pass an endpoint: a question is put on record, and the answer to it teaches
 * addresses before the endpoint has it. What is not as policy-dns-message.h reads it teaches nothing.
 */
#pragma once

#include "policy-dns-message.h"

#define DNS_PORT 53
#define DNS_RESPONSE 0x8000
#define DNS_TRUNCATED 0x0200
#define DNS_RCODE 0x000f
#define DNS_A 1
#define DNS_CNAME 5
#define DNS_AAAA 28
#define DNS_OPT 41
#define DNS_EDNS 11 /* bytes of its record without options */
#define DNS_RECORDS 64

#define QUESTION_NS (20 * SECOND_NS)
/* A resolver may give an answer to its client at the last moment, and the client connects after that. */
#define NAME_GRACE_NS (30 * SECOND_NS)
#define NAME_LONGEST_TTL (7 * 86400)

/* Addresses are known by names at least that long, whatever answers say. */
const volatile __u32 name_seconds_at_least;

/* Whether the name may be asked for at the port, by the rule that the packet in hand is allowed by. */
static __always_inline bool is_named(__u32 names_at, __u32 class, __u64 serial)
{
	const struct policy_line *line;
	struct table_view in_force;

	if (names_at == ANY_NAME)
		return true;
	if (!open_table(&in_force) || in_force.header->serial != serial)
		return false;
	line = line_at(&in_force, names_at + class / (POLICY_LINE * 8));
	return line && line->words[class / 32 & 15] >> (class & 31) & 1;
}

/* Nothing but what people ask with: behind the question at most one record of EDNS (RFC 6891), and nothing behind that. */
static __always_inline bool is_question_alone(const struct names_work *hand, __u32 after)
{
	if (hand->is_cut || hand->records || half_at(hand, 8))
		return false;
	if (!half_at(hand, 10))
		return after == hand->length;
	return half_at(hand, 10) == 1 && after + DNS_EDNS <= hand->length && !byte_at(hand, after) &&
	       half_at(hand, after + 1) == DNS_OPT && after + DNS_EDNS + half_at(hand, after + 9) == hand->length;
}

/*
 * A question that the rules of the port allow to ask is put on record, and so is what those that are tried out (`tried_at`)
 * would allow. 0: it is refused.
 */
__noinline int ask_for_name(struct __sk_buff *skb, __u32 tried_at)
{
	struct names_work *hand = names_in_hand();
	struct work *work = work_in_hand();
	__u32 class, names_at;
	int after;

	if (!heeds_names || !hand || !work)
		return 1;
	names_at = work->ruling.drops ? 0 : work->ruling.names;
	if (!names_at && !tried_at)
		return 1;
	after = read_message(skb);
	forget();
	if (!after || hand->flags & DNS_RESPONSE || !is_question_alone(hand, after)) {
		if (!names_at || names_at == ANY_NAME)
			return 1;
		count_name(NAME_REFUSED);
		return 0;
	}
	class = find_name_class(hand->name.length);
	forget();
	if (!is_named(names_at ? names_at : tried_at, class, work->serial)) {
		if (!names_at)
			return 1;
		count_name(NAME_REFUSED);
		return 0;
	}
	if (dry_run || !class || class > hand->peer_classes || (hand->type != DNS_A && hand->type != DNS_AAAA))
		return 1;
	count_name(NAME_ASKED);
	hand->question =
		(struct question){ .hash = hand->hash, .asked_ns = flow_clock(), .type = hand->type };
	bpf_map_update_elem(&questions, &hand->key, &hand->question, BPF_ANY);
	return 1;
}

/* So that what is learnt can be told, and judged again by other patterns. False: it is not on record. */
static __always_inline bool know_name(struct names_work *hand)
{
	struct known_name *known = bpf_map_lookup_elem(&known_names, &hand->hash);
	__u64 differs = 0;

	if (!known) {
		hand->name.judged = 0;
		return is_there(bpf_map_update_elem(&known_names, &hand->hash, &hand->name, BPF_NOEXIST),
				NAME_NAME_ADDED);
	}
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < NAME_BYTES / 8; at++)
		differs |= word_of(known, at) ^ word_of(&hand->name, at);
	if (differs)
		count_name(NAME_COLLIDED);
	return !differs;
}

/* The address in hand is the question's name's until then. */
__noinline int learn_address(__u32 ifindex)
{
	struct names_work *hand = names_in_hand();
	__u64 earliest = ~0ULL, hash, until, now_ns;
	__u32 place = 0;
	struct learnt *taught;
	long error;

	if (!heeds_names || !hand)
		return 0;
	hand->learnt_key.ifindex = ifindex;
	hand->learnt_key.unused = 0;
	hash = hand->question.hash;
	until = hand->until_ns;
	count_name(NAME_LEARNT);
	taught = bpf_map_lookup_elem(&learnt, &hand->learnt_key);
	if (!taught) {
		__builtin_memset(&hand->learnt, 0, sizeof(hand->learnt));
		hand->learnt.names[0] = (struct learnt_name){ .hash = hash, .until_ns = until };
		forget();
		error = bpf_map_update_elem(&learnt, &hand->learnt_key, &hand->learnt, BPF_NOEXIST);
		is_there(error, NAME_ADDRESS_ADDED);
		if (error != NAME_EXISTS)
			return 0;
		taught = bpf_map_lookup_elem(&learnt, &hand->learnt_key);
		if (!taught)
			return 0;
	}
	now_ns = flow_clock();
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < LEARNT_NAMES; at++) {
		__u64 is = taught->names[at].hash, ends = is ? taught->names[at].until_ns : 0;

		if (is == hash) {
			if (ends < until)
				taught->names[at].until_ns = until;
			return 0;
		}
		if (ends < earliest) {
			earliest = ends;
			place = at;
		}
		forget();
	}
	if (earliest >= now_ns)
		count_name(NAME_GAVE_WAY);
	asm volatile("" : "+r"(place));
	place &= LEARNT_NAMES - 1;
	/*
	 * Who looks at this moment, or sees the words in another order, finds either name or none, for one packet. Only an
	 * entry that nobody looked at gives way to another address, so that this one is not another's by now.
	 */
	*(volatile __u64 *)&taught->names[place].hash = 0;
	*(volatile __u64 *)&taught->names[place].until_ns = until;
	*(volatile __u64 *)&taught->names[place].hash = hash;
	return 0;
}

static __always_inline void take_address(struct names_work *hand, __u32 data, __u32 ifindex)
{
	__u64 seconds = hand->ttl;

	if (seconds < name_seconds_at_least)
		seconds = name_seconds_at_least;
	hand->until_ns = flow_clock() + seconds * SECOND_NS + NAME_GRACE_NS;
	if (hand->type == DNS_A) {
		hand->learnt_key.high = 0;
		hand->learnt_key.low = 0xffffULL << 32 | word_at(hand, data);
	} else {
		hand->learnt_key.high = (__u64)word_at(hand, data) << 32 | word_at(hand, data + 4);
		hand->learnt_key.low = (__u64)word_at(hand, data + 8) << 32 | word_at(hand, data + 12);
	}
	forget();
	learn_address(ifindex);
}

/* One record. Where the next one stands; 0: it cannot be read. */
__noinline int read_record(__u32 at)
{
	struct names_work *hand = names_in_hand();
	struct work *work = work_in_hand();
	__u32 type, size, ttl, data;

	if (!heeds_names || !hand || !work)
		return 0;
	if (at + 2 > hand->length)
		return 0;
	if (half_at(hand, at) == (0xc000 | hand->owner_at)) {
		hand->owner_is_here = true;
		at += 2;
	} else {
		at = read_name(at);
		forget();
		hand->owner_is_here = at && hand->hash == hand->owner_hash;
		if (!at)
			return 0;
	}
	forget();
	if (at + 10 > hand->length)
		return 0;
	type = half_at(hand, at);
	ttl = lower(word_at(hand, at + 4), NAME_LONGEST_TTL);
	size = half_at(hand, at + 8);
	data = at + 10;
	if (data + size > hand->length)
		return 0;
	if (!hand->owner_is_here || half_at(hand, at + 2) != DNS_CLASS_IN)
		return data + size;
	if (type == DNS_CNAME) {
		hand->owner_at = data;
		hand->ttl = lower(hand->ttl, ttl);
		if (read_name(data) != data + size)
			return 0;
		forget();
		hand->owner_hash = hand->hash;
	} else if (type == hand->type && size == (type == DNS_A ? 4 : 16)) {
		/* Of each address, but none lives longer than the names that lead to it. */
		__u32 chain = hand->ttl;

		hand->ttl = lower(chain, ttl);
		take_address(hand, data, work->view.key.ifindex);
		hand->ttl = chain;
	}
	return data + size;
}

/* An answer of whom the endpoint asked. */
__noinline int learn_answer(struct __sk_buff *skb)
{
	struct names_work *hand = names_in_hand();
	struct question *asked;
	__u32 at, records;

	if (!heeds_names || !hand)
		return 0;
	at = read_message(skb);
	forget();
	if (!at) {
		count_name(hand->is_fragment ? NAME_IN_FRAGMENTS : NAME_UNREADABLE);
		return 0;
	}
	asked = bpf_map_lookup_elem(&questions, &hand->key);
	if (!asked || !(hand->flags & DNS_RESPONSE) || asked->hash != hand->hash || asked->type != hand->type ||
	    flow_clock() - asked->asked_ns > QUESTION_NS) {
		count_name(NAME_UNASKED);
		return 0;
	}
	hand->question = *asked;
	if (hand->flags & DNS_TRUNCATED) {
		count_name(NAME_CUT);
		return 0;
	}
	bpf_map_delete_elem(&questions, &hand->key);
	if (hand->flags & DNS_RCODE)
		return 0;
	if (!know_name(hand))
		return 0;
	hand->owner_at = DNS_HEADER;
	hand->owner_hash = hand->hash;
	hand->ttl = NAME_LONGEST_TTL;
	records = hand->records;
#pragma clang loop unroll(disable)
	for (__u32 record = 0; record < DNS_RECORDS; record++) {
		if (record >= records)
			return 0;
		at = read_record(at);
		if (!at) {
			count_name(NAME_UNREADABLE);
			return 0;
		}
	}
	if (records > DNS_RECORDS)
		count_name(NAME_UNREADABLE);
	return 0;
}

/* It asks by TCP, of which nobody reads anything. */
static __always_inline bool begins_dns_by_tcp(const struct packet_view *view)
{
	return view->key.protocol == IPPROTO_TCP && view->key.remote_port == bpf_htons(DNS_PORT) && opens(view);
}

static __always_inline bool is_of_dns(const struct flow_key *key)
{
	return heeds_names && key->protocol == IPPROTO_UDP && key->remote_port == bpf_htons(DNS_PORT);
}
