/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one exit of every program that judges packets: counts, may report a sample, and turns the
 * verdict into the hook's own code. A dry run writes what was decided into `explained` and nothing else.
 */
#pragma once

#include "counters.h"
#include "network.h"

#define EVENT_HEAD 128 /* a power of two */

enum verdict { VERDICT_PASS, VERDICT_DROP };
EXPORT_TYPE(enum, verdict);

/* What samples are told apart by; the last one passes, and opens a flow. */
enum sample { SAMPLE_PASS = VERDICT_PASS, SAMPLE_DROP = VERDICT_DROP, SAMPLE_OPENING };
EXPORT_TYPE(enum, sample);

/* The address is the one the verdict was made by. */
enum explained_flag { EXPLAINED_IPV4 = 1, EXPLAINED_IPV6 = 2, EXPLAINED_OPENING = 4 };
EXPORT_TYPE(enum, explained_flag);

struct explained {
	__u32 verdict;
	__u32 reason;
	__u32 rule; /* 0: no rule */
	__u32 flags;
	__u8 address[16]; /* network order; IPv4 in the first four */
};
_Static_assert(sizeof(struct explained) == 32, "map ABI: regenerate the codecs");

enum event_layer { EVENT_ETHERNET = 2, EVENT_NETWORK = 3 };
EXPORT_TYPE(enum, event_layer);
EXPORT_TYPE(enum, fault);

/* One sampled verdict. */
struct event {
	__u64 time_ns; /* since boot, without suspend */
	__u64 instance;
	__u32 ifindex;
	__u32 length;
	__u32 head_length;
	__u32 layer;
	struct explained decision;
	__u8 head[EVENT_HEAD];
};
_Static_assert(sizeof(struct event) == 192, "map ABI: regenerate the codecs");
EXPORT_TYPE(struct, event);

/* What is reported, for all programs of the node; all zero reports nothing. */
struct trace_switch {
	__u32 every; /* one packet in so many */
	__u32 samples; /* bits 1 << enum sample; 0 is all */
	__u64 instance; /* 0 is all */
};
_Static_assert(sizeof(struct trace_switch) == 16, "map ABI: regenerate the codecs");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct trace_switch);
	__uint(max_entries, 1);
} trace SEC(".maps");

/* Records: struct event. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16); /* the largest page there is; user space gives more */
} events SEC(".maps");

/* What found the ring full; ROWS is how many there are. */
enum lost_event { LOST_VERDICT, LOST_FLOW, LOST_ROWS };
EXPORT_TYPE(enum, lost_event);

/* Since the map was made. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, LOST_ROWS);
} lost_events SEC(".maps");

/* What a dry run decided. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct explained);
	__uint(max_entries, 1);
} explained SEC(".maps");

const volatile bool dry_run;
/* Tells the instances of a feature apart in events. */
const volatile __u64 instance_id;

struct decision {
	enum verdict verdict;
	__u32 reason;
	__u32 rule;
	enum network network;
	struct address address;
	__u8 opens_flow; /* if it passes; programs that know no flows say 0 */
};

/* Arithmetic, for a comparison would double the verifier's paths. */
static __always_inline enum sample sample_of(const struct decision *decision)
{
	return decision->verdict | (decision->opens_flow & ~decision->verdict) << 1;
}

static __always_inline void describe(const struct decision *decision, struct explained *out)
{
	__be64 high = decision->address.high, low = decision->address.low;

	/* Else the compiler does this for every packet, before it knows whether anybody is told. */
	asm volatile("" : "+r"(high), "+r"(low));
	high = bpf_cpu_to_be64(high);
	low = bpf_cpu_to_be64(low);
	out->verdict = decision->verdict;
	out->reason = decision->reason;
	out->rule = decision->rule;
	out->flags = decision->network == NETWORK_IPV4 ? EXPLAINED_IPV4 :
		     decision->network == NETWORK_IPV6 ? EXPLAINED_IPV6 :
							 0;
	out->flags |= (sample_of(decision) & SAMPLE_OPENING) * (EXPLAINED_OPENING / SAMPLE_OPENING);
	__builtin_memcpy(out->address, &high, sizeof(high));
	__builtin_memcpy(out->address + 8, &low, sizeof(low));
}

static __always_inline bool is_sampled(const struct decision *decision)
{
	__u32 zero = 0;
	struct trace_switch *wanted = bpf_map_lookup_elem(&trace, &zero);

	if (!wanted || wanted->every == 0)
		return false;
	if (wanted->samples != 0 && !(wanted->samples >> sample_of(decision) & 1))
		return false;
	if (wanted->instance != 0 && wanted->instance != instance_id)
		return false;
	return wanted->every == 1 || bpf_get_prandom_u32() % wanted->every == 0;
}

/* One access, wherever it lies: the processors that we build for allow that, and byte by byte is 16. */
static __always_inline void copy_word(void *to, const void *from)
{
	*(volatile __u64 *)to = *(const volatile __u64 *)from;
}

/* Packet pointers may be stale by now (an skb was written to), so they are taken anew. */
static __always_inline __u32 copy_head(const struct packet *packet, __u8 *head)
{
	__u32 size = packet->length < EVENT_HEAD ? packet->length : EVENT_HEAD;

	if (packet->source == PACKET_XDP) {
		const volatile struct xdp_md *frame = packet->ctx;
		const __u8 *data = (void *)(long)frame->data, *data_end = (void *)(long)frame->data_end;
		__u32 last = blur(packet, size - 8, 127);

#pragma clang loop unroll(disable)
		for (__u32 at = 0; at < EVENT_HEAD; at += 8) {
			if (data + at + 8 > data_end)
				break;
			copy_word(head + at, data + at);
		}
		/* What is left of a word, together with what stands before it; read anew as in header_at(). */
		asm volatile("" : "+r"(last));
		data = (void *)(long)frame->data;
		data_end = (void *)(long)frame->data_end;
		if (last > EVENT_HEAD - 8 || data + last + 8 > data_end)
			return 0;
		copy_word(head + last, data + last);
		return size;
	}
	/* From 1 to EVENT_HEAD without a comparison, of which Linux 5.10 would learn only half; 0 fails in the call. */
	if (bpf_skb_load_bytes(packet->ctx, 0, head, ((size - 1) & (EVENT_HEAD - 1)) + 1))
		return 0;
	return size;
}

/* A per-CPU value, as in counters.h. */
static __always_inline void count_lost(__u32 what)
{
	__u64 *count = bpf_map_lookup_elem(&lost_events, &what);

	if (count)
		*count += 1;
}

/* A full ring loses the sample: verdicts never wait for a reader. */
static __always_inline void report(const struct packet *packet, const struct decision *decision)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return count_lost(LOST_VERDICT);
	event->time_ns = bpf_ktime_get_ns();
	event->instance = instance_id;
	event->ifindex = packet->source == PACKET_XDP ? ((struct xdp_md *)packet->ctx)->ingress_ifindex :
							((struct __sk_buff *)packet->ctx)->ifindex;
	event->length = packet->length;
	event->layer = packet->starts_at_network ? EVENT_NETWORK : EVENT_ETHERNET;
	describe(decision, &event->decision);
	event->head_length = copy_head(packet, event->head);
	bpf_ringbuf_submit(event, 0);
}

static __always_inline int verdict_code(const struct packet *packet, enum verdict verdict)
{
	if (packet->source == PACKET_XDP)
		return verdict == VERDICT_PASS ? XDP_PASS : XDP_DROP;
	if (packet->source == PACKET_TC)
		return verdict == VERDICT_PASS ? TCX_NEXT : TCX_DROP;
	return verdict == VERDICT_PASS;
}

static __always_inline int settle(const struct packet *packet, struct decision *decision)
{
	__u32 zero = 0;

	decision->verdict = blur(packet, decision->verdict, 1);
	decision->reason = blur(packet, decision->reason, REASON_SLOTS - 1);
	decision->network = blur(packet, decision->network, 7);
	decision->rule = blur(packet, decision->rule, ~0U);

	if (dry_run) {
		struct explained *out = bpf_map_lookup_elem(&explained, &zero);

		if (out)
			describe(decision, out);
		return verdict_code(packet, decision->verdict);
	}
	count_reason(decision->reason, packet->length);
#ifndef RULES_COUNT_ELSEWHERE
	if (decision->rule)
		count_rule(decision->rule, packet->length);
#endif
	if (is_sampled(decision))
		report(packet, decision);
	return verdict_code(packet, decision->verdict);
}
