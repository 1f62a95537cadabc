// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
enum { XDP_PASS = 2 };

__attribute__((section("xdp"), used)) int pass(void *packet)
{
	(void)packet;
	return XDP_PASS;
}

char _license[] __attribute__((section("license"), used)) = "Dual BSD/GPL";
