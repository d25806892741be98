"""What differs between two documents, told from their trees alone.

Invariant: nothing is decoded or imported; exchanging the documents exchanges the sides.

- `references`: a tree in which references lead to what they refer to
- `short_text`: values in a few characters
- `elements`: which elements of two arrays differ
- `compare`: the walk over both trees
"""
