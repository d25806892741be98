"""Whether a repository is whole, and making it whole again.

- `checkup`: every file, every link, every name; what depends on what is wrong.
- `decoding`: whether what the bytes say can be read; environments are never decoded.
- `planning`: what is wanted, and where it may be found.
- `mending`: bringing back what is damaged or missing.
"""
