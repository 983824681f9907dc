"""Bodies of the shape that an endpoint wants, with values that nobody should send: made from our own schemas."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

# NUL, half a surrogate pair, nothing, too long, other scripts and directions, names that mean something elsewhere.
HOSTILE_STRINGS: tuple[str, ...] = (
    "\0", "a\0b", "\ud800", "", " ", "x" * 300, "é" * 200, "x" * 70_000, "💥" * 70, "\u202eabc", "a\nb\r\nc: d",
    "ﬀ", "İ", "\ufeff", "\uffff", "__proto__", "%", "%s%n", "' OR 1=1 --", "*" * 40, "?*?*[", "\\", "(", ".*" * 20,
    "m.read", "m.thread", "main", "null", "-1", "1e400", "../..", "mxc://a/b", "mxc://", "http://[", "data:text/html,x",
)  # fmt: skip
HOSTILE_NUMBERS: tuple[int | float, ...] = (
    0, -1, 1, 100, 2**31, 2**53 - 1, -(2**53) + 1, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**40,
    1.5, 5.0, -0.0, 1e308,
)  # fmt: skip


class Shapes:
    """The same values for the same seed. `known`: identifiers that exist, by the format that they have."""

    def __init__(self, seed: int, known: Mapping[str, Sequence[str]], *, hostility: float = 0.2) -> None:
        self._random = random.Random(seed)
        self._known = known
        self._hostility = hostility

    def body(self, schema: Mapping[str, Any]) -> Any:
        """A value that mostly meets the schema."""
        return self._value(schema, 0)

    def string(self) -> str:
        """Any of the strings, or an identifier that exists."""
        names = [name for names in self._known.values() for name in names]
        return self._random.choice(names if self._random.random() < 0.4 else HOSTILE_STRINGS)

    def anything(self, depth: int = 0) -> Any:
        """Any JSON; now and then a hundred levels of it."""
        choice = self._random.random()
        if choice < 0.02 and depth == 0:
            return self._deep(self._random.choice([30, 150]))
        if depth > 3 or choice < 0.45:
            return self.string()
        if choice < 0.7:
            return self._random.choice([None, True, False, *HOSTILE_NUMBERS])
        if choice < 0.8:
            return [self.anything(depth + 1) for _ in range(self._random.randrange(4))]
        return {self.string(): self.anything(depth + 1) for _ in range(self._random.randrange(4))}

    def wrong(self, value: Any) -> Any:
        """The same value with something hostile in one place of it, mostly."""
        if self._random.random() < 0.15:
            return self.anything()
        if isinstance(value, dict) and value:
            name = self._random.choice(list(value))
            changed = {**value, name: self.wrong(value[name])}
            if self._random.random() < 0.1:
                changed[self.string()] = changed.pop(name)
            return changed
        if isinstance(value, list) and value:
            index = self._random.randrange(len(value))
            return [*value[:index], self.wrong(value[index]), *value[index + 1 :]]
        if isinstance(value, str) and self._random.random() < 0.7:
            return self.string()
        if isinstance(value, int | float) and self._random.random() < 0.7:
            return self._random.choice(HOSTILE_NUMBERS)
        return self.anything()

    def _deep(self, levels: int) -> Any:
        value: Any = self.string()
        for _ in range(levels):
            value = [value] if self._random.random() < 0.5 else {"a": value}
        return value

    def _value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or not schema or depth > 6:
            return self.anything(depth)
        if depth > 0 and self._random.random() < self._hostility / 4:
            return self.anything(depth)
        if "enum" in schema and self._random.random() > self._hostility:
            return self._random.choice(schema["enum"])
        kinds = schema.get("type", "object")
        kind = kinds if isinstance(kinds, str) else self._random.choice(kinds)
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return [self._value(schema.get("items"), depth + 1) for _ in range(self._random.randrange(4))]
            case "string":
                return self._string(schema)
            case "integer" | "number":
                return self._random.choice(HOSTILE_NUMBERS)
            case "boolean":
                return self._random.random() < 0.5
            case _:
                return None

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        made = {
            name: self._value(item, depth + 1)
            for name, item in properties.items()
            if (name in required and self._random.random() < 0.97) or self._random.random() < 0.6
        }
        others = schema.get("additionalProperties")
        if isinstance(others, dict) or not properties:
            for _ in range(self._random.randrange(3)):
                made[self.string()] = self._value(others if isinstance(others, dict) else None, depth + 1)
        return made

    def _string(self, schema: Mapping[str, Any]) -> str:
        known = self._known.get(schema.get("format", ""))
        if known and self._random.random() > self._hostility:
            return self._random.choice(list(known))
        return self.string()
