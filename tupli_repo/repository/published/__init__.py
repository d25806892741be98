"""What is published: names, their revisions, and how a name gets its next one.

- `history`: the heads of a name and what they hold together: arithmetic over its revisions.
- `views`: one revision as its release says it. `sets`: its episodes, in few sets.
- `releases`: what is published here, read and parsed once. `stored`: the store they lie in.
- `revisions`: what people write for a revision: `pendulum@3`.
- `publishing`: publishing, taking back, uniting, yanking.
"""
