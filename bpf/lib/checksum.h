// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* checksum: the Internet checksum (RFC 1071), folded and updated in place (RFC 1624).
 *
 * Pure: the host compiler builds it for tests.
 */
#pragma once
#include <linux/types.h>

static inline __attribute__((always_inline)) __u16 checksum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* The checksum after one 16-bit word of the data changed; all in one byte order. */
static inline __attribute__((always_inline)) __u16 checksum_replace(__u16 checksum, __u16 old,
								    __u16 new)
{
	return checksum_fold((__u32)(__u16)~checksum + (__u16)~old + new);
}
