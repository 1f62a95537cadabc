// SPDX-License-Identifier: GPL-2.0-only
/* Reads whole tables through a map of maps: every line of one table has the same words. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PLACES 16

struct line {
	__u32 words[16];
};

struct seen {
	__u64 packets; /* with one table from the first line to the last */
	__u64 mixes;
	__u64 misses;
	__u64 tables; /* a bit for each that was seen */
};

/* Sizes, not types: clang 14 leaves types of inner maps out. */
struct lines {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct line));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct lines);
} table SEC(".maps");

struct hits {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 2 * sizeof(__u64));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 256);
	__type(key, __u32);
	__array(values, struct hits);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

/* words[0]: which table, words[1]: how many lines, words[2]: slot of its counters, words[3]: index there. */
SEC("tc")
int look(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct seen *into = bpf_map_lookup_elem(&seen, &zero);
	void *lines = bpf_map_lookup_elem(&table, &zero);
	struct line *first = lines ? bpf_map_lookup_elem(lines, &zero) : 0;

	if (!into)
		return 0;
	if (!first || !first->words[1]) {
		into->misses++;
		return 0;
	}
	for (__u32 at = 0; at < PLACES; at++) {
		__u32 index = at * (first->words[1] - 1) / (PLACES - 1);
		struct line *line = bpf_map_lookup_elem(lines, &index);

		if (!line) {
			into->misses++;
			return 0;
		}
		for (int word = 0; word < 16; word++) {
			if (line->words[word] != first->words[word]) {
				into->mixes++;
				return 0;
			}
		}
	}
	__u32 slot = first->words[2], rule = first->words[3];
	void *hits = bpf_map_lookup_elem(&counters, &slot);
	__u64 *hit = hits ? bpf_map_lookup_elem(hits, &rule) : 0;

	if (!hit) {
		into->misses++;
		return 0;
	}
	*hit += 1;
	into->packets++;
	into->tables |= 1ULL << (first->words[0] & 63);
	return 0;
}

char _license[] SEC("license") = "GPL";
