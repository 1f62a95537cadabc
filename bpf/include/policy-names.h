/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Names of DNS as peers: which addresses answers have taught each endpoint, under which names, and what the rules of
 * the table in force make of those names. Nothing here is in a program whose table has no names.
 */
#pragma once

#include "policy-lookup.h"
#include "settle.h"

/* Some table of the node has rules about names. */
const volatile bool heeds_names;

#define NAME_BYTES 256 /* 253 characters, and zeros behind them */
#define DNS_BYTES 2048 /* what is looked at of a message: a power of two */

/* Of the patterns in force, so that what is known of a name is found out again when they are others. */
#define NAME_CLASS_BITS 16

struct known_name {
	__u64 judged; /* patterns << NAME_CLASS_BITS | class */
	__u32 length;
	__u32 unused;
	__u8 text[NAME_BYTES]; /* lower case, without the dot at the end */
};
_Static_assert(sizeof(struct known_name) == 272, "map ABI: regenerate the codecs");

/* By hash. What was not looked at for longest gives way. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u64);
	__type(value, struct known_name);
	__uint(max_entries, 1); /* from user space */
} known_names SEC(".maps");

struct learnt_key {
	__u32 ifindex; /* of the endpoint that asked */
	__u32 unused;
	__u64 high, low; /* the address, as tables have it */
};
_Static_assert(sizeof(struct learnt_key) == 24, "map ABI: regenerate the codecs");

/* Names of one address. */
#define LEARNT_NAMES 8

struct learnt_name {
	__u64 hash; /* 0: free */
	__u64 until_ns;
};

struct learnt {
	struct learnt_name names[LEARNT_NAMES];
};
_Static_assert(sizeof(struct learnt) == 128, "map ABI: regenerate the codecs");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct learnt_key);
	__type(value, struct learnt);
	__uint(max_entries, 1); /* from user space */
} learnt SEC(".maps");

/* A question that passed and was not answered yet. */
struct question_key {
	struct flow_key flow;
	__be16 id;
	__u16 unused;
};
_Static_assert(sizeof(struct question_key) == 48, "map ABI: regenerate the codecs");

struct question {
	__u64 hash; /* of the name */
	__u64 asked_ns;
	__u32 type;
	__u32 unused;
};
_Static_assert(sizeof(struct question) == 24, "map ABI: regenerate the codecs");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct question_key);
	__type(value, struct question);
	__uint(max_entries, 1); /* from user space */
} questions SEC(".maps");

/* What became of questions and answers, since the map was made. */
enum name_event {
	NAME_ASKED, /* questions that passed, whose answer may teach */
	NAME_REFUSED, /* questions for names that no rule of their port names */
	NAME_LEARNT, /* addresses, again or for the first time */
	NAME_UNASKED, /* answers to no question on record, or to another one */
	NAME_UNREADABLE, /* answers that are too long or malformed, from there on */
	NAME_GAVE_WAY, /* of more names of one address than are kept, the first to end */
	NAME_COLLIDED, /* another name has the same hash */
	NAME_ADDRESS_ADDED, /* addresses that came into the map; those that are there no more gave way to others */
	NAME_NAME_ADDED, /* names that did, and likewise */
	NAME_NO_ROOM, /* addresses and names for which none gave way */
	NAME_CUT, /* answers that say that they are cut short: who asked goes on by TCP */
	NAME_IN_FRAGMENTS, /* packets of answers that are fragments */
	NAME_BY_TCP, /* connections to the port of DNS by TCP: what is heard there is not read */
};
#define NAME_EVENTS 16

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, NAME_EVENTS);
} name_events SEC(".maps");

static __always_inline void count_name(__u32 event)
{
	__u64 *count = dry_run ? NULL : bpf_map_lookup_elem(&name_events, &event);

	if (count)
		*count += 1;
}

#define NAME_EXISTS -17 /* EEXIST */

/* An entry that another CPU has put there meanwhile is as good. */
static __always_inline bool is_there(long error, __u32 event)
{
	if (error != NAME_EXISTS)
		count_name(error ? NAME_NO_ROOM : event);
	return !error || error == NAME_EXISTS;
}

/* The message in hand; in a map for the reasons of `struct work`. */
struct names_work {
	__u8 message[DNS_BYTES];
	struct known_name name; /* that was read last */
	__u64 hash;
	struct question_key key;
	struct question question;
	struct learnt_key learnt_key;
	struct learnt learnt;
	__u64 owner_hash, until_ns;
	__u32 length; /* of the message */
	__u32 is_cut; /* there is more of it, or behind it in its packet */
	__u32 is_fragment; /* so it is none */
	__u32 at, left, lowest, after;
	__u32 id, flags, records; /* of the header */
	__u32 type;
	__u32 owner_at, owner_is_here;
	__u32 ttl;
	__u32 state; /* of the automaton */
	__u32 peer_classes; /* as in struct policy_names */
	__u64 serial; /* of the table that the classes are of */
	__u32 rank, address_class;
	__u32 classes[LEARNT_NAMES]; /* of the peer in hand; 0: none */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct names_work);
	__uint(max_entries, 1);
} names_works SEC(".maps");

static __always_inline struct names_work *names_in_hand(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&names_works, &zero);
}

/* Of the characters of names; 0: none of them. packages/features/src/policy/table/names.ts is the same. */
static __always_inline __u32 name_symbol(__u8 character)
{
	if (character >= 'a' && character <= 'z')
		return character - 'a' + 1;
	if (character >= '0' && character <= '9')
		return character - '0' + 27;
	if (character == '-')
		return 37;
	if (character == '_')
		return 38;
	return character == '.' ? 39 : 0;
}

static __always_inline const struct policy_names *names_of(const struct table_view *table)
{
	const struct policy_annex *annex = line_at(table, 1);

	return annex && annex->names ? line_at(table, annex->names) : NULL;
}

/* The class of the name in hand, by the table in force; 0: no pattern matches it. */
__noinline int find_name_class(__u32 length)
{
	struct names_work *hand = names_in_hand();
	const struct policy_names *patterns;
	const struct policy_line *line;
	struct table_view in_force;
	__u32 first;

	if (!heeds_names || !hand || !open_table(&in_force))
		return 0;
	patterns = names_of(&in_force);
	if (!patterns)
		return 0;
	first = patterns->states;
	hand->name.judged = patterns->serial << NAME_CLASS_BITS;
	hand->peer_classes = patterns->peer_classes;
	hand->state = 1;
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < NAME_BYTES - 1; at++) {
		__u32 symbol;

		forget();
		if (at >= length)
			break;
		symbol = name_symbol(hand->name.text[at]);
		line = line_at(&in_force, first + (hand->state - 1) * 2 + symbol / 32);
		if (!line)
			return 0;
		hand->state = half_of(line, symbol);
		forget();
		if (!hand->state)
			return 0;
	}
	forget();
	line = line_at(&in_force, first + (hand->state - 1) * 2);
	/* No character has symbol 0. */
	if (line)
		hand->name.judged |= half_of(line, 0);
	return hand->name.judged & ((1 << NAME_CLASS_BITS) - 1);
}

/* Classes of the names by which the endpoint knows the peer in hand. Of a connection that is open, the ended ones too. */
__noinline int find_names(__u32 ifindex)
{
	struct names_work *hand = names_in_hand();
	struct work *work = work_in_hand();
	const struct policy_names *patterns;
	struct table_view in_force;
	struct learnt *taught;
	__u64 now_ns, judged;
	__u32 count = 0;

	if (!heeds_names || !hand || !work)
		return 0;
	if (!open_table(&in_force) || in_force.header->serial != work->serial)
		return 0;
	patterns = names_of(&in_force);
	/* Pods and nodes are never meant by names. */
	if (!patterns || work->class >= patterns->world_classes)
		return 0;
	hand->learnt_key = (struct learnt_key){ .ifindex = ifindex, .high = work->high, .low = work->low };
	taught = bpf_map_lookup_elem(&learnt, &hand->learnt_key);
	if (!taught)
		return 0;
	now_ns = flow_clock();
	judged = patterns->serial << NAME_CLASS_BITS;
	hand->serial = work->serial;
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < LEARNT_NAMES; at++) {
		struct known_name *known;
		__u64 is;

		forget();
		hand->classes[at] = 0;
		hand->hash = taught->names[at].hash;
		if (!hand->hash || (!work->has_flow && taught->names[at].until_ns < now_ns))
			continue;
		known = bpf_map_lookup_elem(&known_names, &hand->hash);
		if (!known)
			continue;
		is = *(volatile __u64 *)&known->judged;
		if ((is ^ judged) >> NAME_CLASS_BITS) {
			hand->name = *known;
			forget();
			find_name_class(hand->name.length);
			forget();
			is = hand->name.judged;
			if (!dry_run)
				*(volatile __u64 *)&known->judged = is;
			if ((is ^ judged) >> NAME_CLASS_BITS)
				continue;
		}
		hand->classes[at] = is & ((1 << NAME_CLASS_BITS) - 1);
		count += 1;
	}
	return count;
}

/* Lowers the rank to the lowest that a name of the peer in hand has in the verdict table. */
__noinline int rank_by_names(__u32 verdicts_at)
{
	struct names_work *hand = names_in_hand();
	struct work *work = work_in_hand();
	const struct policy_names *patterns;
	const struct verdict_table *verdicts;
	struct table_view in_force;

	if (!heeds_names || !hand || !work)
		return 0;
	if (!open_table(&in_force) || in_force.header->serial != work->serial || hand->serial != work->serial)
		return 0;
	patterns = names_of(&in_force);
	verdicts = line_at(&in_force, verdicts_at);
	if (!patterns || !verdicts)
		return 0;
	hand->rank = work->rank;
	hand->address_class = work->class;
#pragma clang loop unroll(disable)
	for (__u32 at = 0; at < LEARNT_NAMES; at++) {
		forget();
		if (!hand->classes[at])
			continue;
		work->class = patterns->first_row + hand->classes[at] - 1;
		forget();
		find_rank(&in_force, verdicts, work);
		forget();
		hand->rank = lower(hand->rank, work->rank);
	}
	forget();
	work->rank = hand->rank;
	work->class = hand->address_class;
	return 0;
}
