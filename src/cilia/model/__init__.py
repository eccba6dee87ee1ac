"""The nouns and the pure functions on them.

Labels and selectors, identities, prefixes and ports, policy rules, drop reasons and
the error tree. Nothing here knows a kernel, a socket or a clock.
"""
