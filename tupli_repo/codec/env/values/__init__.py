"""The types of values a document may hold: each as named fields, and back.

Invariant: making a value from fields only computes; it gives a value of its type, or raises.

- `value_type`: what a value type is, and the checks on the way back
- `numeric`: numpy's types; `spaces`: gymnasium's
- `frames`: pandas' types; `frame_columns`: what their columns hold
- `tensors`: torch's types, and what says what a module is
- `members`: members of enums by name
- `handlers`: the standard library's types, and the table of all
"""
