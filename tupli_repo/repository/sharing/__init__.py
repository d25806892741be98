"""Exchanging what is published with another repository.

- `joined`: two repositories put together in memory, where an exchange is planned.
- `known`: the two sides, their revisions, and what these need.
- `parcels`: what is brought: chosen, put together, brought in order.
- `transfers`: pushes and pulls, planned and run.
- `incoming`: what a pull lets in.
- `remotes`: what the other repositories are called, where they are, how they are opened.
"""
