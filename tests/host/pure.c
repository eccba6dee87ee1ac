/* Names for the inline functions of bpf/lib's pure headers, built for the host. */
#include "lib/checksum.h"
#include "lib/tuple.h"

__u16 pure_checksum_fold(__u32 sum)
{
	return checksum_fold(sum);
}

__u16 pure_checksum_replace(__u16 checksum, __u16 old, __u16 new)
{
	return checksum_replace(checksum, old, new);
}

_Bool pure_tuple_source_is_low(const struct tuple *tuple)
{
	return tuple_source_is_low(tuple);
}

_Bool pure_address_is_v4(const union address *addr)
{
	return address_is_v4(addr);
}

void pure_address_from_v4(__be32 v4, union address *addr)
{
	*addr = address_from_v4(v4);
}
