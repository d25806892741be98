"""Environments to canonical text and back: one text per configuration, safe to load.

Invariant: equal configurations give one text in every process; decoding runs no code whose name the
trust policy does not hold. Only this package touches jsonpickle.

The map, from the bottom::

    document     the text: EnvDocument, canonical JSON written one way and read strictly
    values       the types of values it may hold: each as named fields, and back
    attributes   an object's attributes, without running its code
    names        dotted names: from an object, and back through the policy
    canonical    the pickler: values to trees
    flattened    the comparing pickler: values to leaves
    snapshot     copies of a layer that is told by its attributes
    recipe       the layers of an environment, and how each is made again
    leaves       what a layer holds, leaf by leaf
    lasting      numbers that no reset takes back
    episodes     private copies made to run
    cached       values of cached properties: computed, or set by hand
    probing      what is configuration, and what an episode leaves behind
    walk         names and memory of all that an environment holds
    globs        what the user excludes or calls volatile is there, and its loss is told
    resets       what a reset does not set anew, though it is left at zero
    overlaps     parts that share memory, which a document cannot say
    audit        a document's structure and names, nothing imported
    encode       the verb that writes
    spill        large arrays out of a text, and back in
    sources      the packages and source files its classes come from
    guards       arguments that would make a trusted class dangerous
    unpickler    trees to values, every other way closed
    decode       the verb that reads
    comparing    what differs between two documents
    verify       the closing check: what was written loads, says and runs the same

A document holds an environment's *layers*: ``base`` and ``wrappers`` from the inside out. A layer
is a ``recipe`` (what makes it, the arguments that differ from the defaults, and the attributes that
differ from a fresh one's) or a ``snapshot`` (its class and attributes, with what a reset sets anew
left at zero).
"""

from tupli_repo.codec.env.audit import parse, untrusted_names
from tupli_repo.codec.env.comparing.compare import compare, compare_values
from tupli_repo.codec.env.decode import decode
from tupli_repo.codec.env.document import EnvDocument, is_document
from tupli_repo.codec.env.encode import Prepare, encode
from tupli_repo.codec.env.sources import Sources, differences, sources_of
from tupli_repo.codec.env.spill import join, spill
from tupli_repo.codec.env.verify import check_round_trip

__all__ = [
    "EnvDocument",
    "Prepare",
    "Sources",
    "check_round_trip",
    "compare",
    "compare_values",
    "decode",
    "differences",
    "encode",
    "is_document",
    "join",
    "parse",
    "sources_of",
    "spill",
    "untrusted_names",
]
