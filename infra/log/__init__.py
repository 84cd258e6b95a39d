"""The log: identity, bytes, keys, the append path and the decisions in front of it."""
