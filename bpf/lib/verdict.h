// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* verdict: what a step decided about a packet; nobody may ignore it. */
#pragma once
#include "types.h"

enum verdict {
	VERDICT_NEXT = 0,     /* nothing against it: the next step judges */
	VERDICT_DROP = 1,     /* the packet carries the reason: see drop() */
	VERDICT_REDIRECT = 2, /* a redirect helper knows where it goes */
	VERDICT_STACK = 3,    /* the node's stack goes on with it, and other programs before it */
	VERDICT_HEARD = 4,    /* it was for us: it ends here, and nothing is wrong with that */
};

/* step: judges a packet; inlined. */
#define step static __always_inline __attribute__((warn_unused_result)) enum verdict

/* shared_step: the same, large: a global function, which the verifier walks once, whoever
 * calls it. It knows nothing of its callers, so pointers that it is given may be NULL to it.
 */
#define shared_step __noinline __attribute__((warn_unused_result)) enum verdict
