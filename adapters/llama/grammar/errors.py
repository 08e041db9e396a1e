"""What a schema can be refused for.

Owns the room-private exception that becomes a 400 naming the keyword. Refuses to know statuses. Invariant: `keyword` and
`path` are enough for a person to find the place in the schema that was sent.
"""


class UnsupportedSchema(ValueError):
    """`keyword` at `path` (a JSON pointer into the schema) cannot be turned into an exact grammar, for `reason`."""

    def __init__(self, keyword: str, path: str, reason: str) -> None:
        super().__init__(f"{keyword!r} at {path or '#'!r} is not supported for constrained output: {reason}")
        self.keyword = keyword
        self.path = path or "#"
        self.reason = reason
