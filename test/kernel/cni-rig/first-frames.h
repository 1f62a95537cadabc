/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs that send and count a pod's first frames share. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* What came for one port, and when: ns of CLOCK_MONOTONIC. */
struct tally {
	uint64_t count, first, last;
};

static inline uint64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000ull + at.tv_nsec;
}

static inline uint16_t sum(const void *bytes, size_t length)
{
	const uint16_t *words = bytes;
	uint32_t total = 0;

	for (size_t at = 0; at < length / 2; at++)
		total += words[at];
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return ~total;
}

static inline void read_mac(const char *text, uint8_t mac[6])
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6)
		exit(2);
}

static inline void add(struct tally *tally, uint64_t at)
{
	if (!tally->count++)
		tally->first = at;
	tally->last = at;
}

static inline void tell(int count, char **ports, const struct tally *tallies)
{
	for (int at = 0; at < count; at++)
		printf("%s %llu %llu %llu\n", ports[at], (unsigned long long)tallies[at].count,
		       (unsigned long long)tallies[at].first, (unsigned long long)tallies[at].last);
}
