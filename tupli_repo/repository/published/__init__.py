"""What is published: names, their revisions, and how a name gets its next one.

- `history`: the heads of a name and what they hold together: arithmetic over its revisions.
- `views`: one revision as its release says it. `sets`: its episodes, in few sets.
- `places`: what is asked of where all this lies. `stored`: the object store, as one of these.
- `releases`: what is published, read and parsed once.
- `revisions`: what people write for a revision: `pendulum@3`.
- `publishing`: publishing, taking back, uniting, yanking.
"""
