"""The typed maps: one file a map, encode and decode between values and the kernel's rows."""
