"""Keeping a repository whole and small: what is reachable, what may go, what is damaged.

It takes stores and plain sets of ids, and knows nothing of what the objects mean.
"""
