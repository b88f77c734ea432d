"""What in a new OpenAPI document breaks clients of an old one; knows documents, not how they are made.

A request breaks when something that was admitted no longer is; an answer breaks when something comes that could not
come before, or no longer comes. New routes, new optional keys of requests and new keys of answers break nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

#: Keywords that admit less when they grow, and those that admit less when they shrink.
LOWER, UPPER = ("minimum", "minItems", "minLength"), ("maximum", "maxItems", "maxLength")


def breaks(old: Json, new: Json) -> list[str]:
    """List what of an old document a new one breaks.

    Args:
        old: The published document.
        new: The one that would replace it.

    Returns:
        One line a break, with its place; empty when no client has to change.
    """
    found = []
    for path, methods in old["paths"].items():
        for method, operation in methods.items():
            place, successor = f"{method.upper()} {path}", new["paths"].get(path, {}).get(method)
            if successor is None:
                found.append(f"{place}: the route is gone")
            else:
                found += _parameters(place, (old, operation), (new, successor))
                found += _body(place, (old, operation), (new, successor))
                found += _answers(place, (old, operation), (new, successor))
    return found


def resolved(document: Json, part: Json) -> Json:
    """Follow a reference within a document, if it is one."""
    while "$ref" in part:
        found: Any = document
        for key in part["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        part = found
    return part


@dataclass(frozen=True)
class Narrowing:
    """Finds where one schema refuses what another admits.

    Attributes:
        wide: Document of the schema that admits.
        narrow: Document of the schema that may refuse.
        is_answer: Whether it is about answers: then the new schema is the one that admits, and the old one, which
            clients were written for, may refuse.
    """

    wide: Json
    narrow: Json
    is_answer: bool = False

    def find(self, place: str, wide: Json, narrow: Json) -> list[str]:
        """List the places."""
        one, other = resolved(self.wide, wide), resolved(self.narrow, narrow)
        choices, others = _choices(one), _choices(other)
        if len(choices) > 1 or len(others) > 1:
            return self._alternatives(place, choices, others)
        return _scalar(place, one, other) + self._object(place, one, other) + self._array(place, one, other)

    def _alternatives(self, place: str, choices: list[Json], others: list[Json]) -> list[str]:
        found: list[str] = []
        for choice in choices:
            attempts = sorted((self.find(place, choice, other) for other in others), key=len)
            found += attempts[0]
        return found

    def _object(self, place: str, one: Json, other: Json) -> list[str]:
        required = set(other.get("required", ())) - set(one.get("required", ()))
        word = "no longer always there" if self.is_answer else "required now"
        found = [f"{place}.{name}: {word}" for name in sorted(required)]
        admits, refuses = one.get("properties", {}), other.get("properties", {})
        lost = refuses.keys() - admits.keys() if self.is_answer else admits.keys() - refuses.keys()
        found += [f"{place}.{name}: gone" for name in sorted(lost)]
        for name in sorted(admits.keys() & refuses.keys()):
            found += self.find(f"{place}.{name}", admits[name], refuses[name])
        return found

    def _array(self, place: str, one: Json, other: Json) -> list[str]:
        pairs = list(zip(one.get("prefixItems", []), other.get("prefixItems", []), strict=False))
        if isinstance(other.get("items"), dict):
            pairs.append((one["items"] if isinstance(one.get("items"), dict) else {}, other["items"]))
        return [flaw for admits, refuses in pairs for flaw in self.find(f"{place}[]", admits, refuses)]


def _choices(schema: Json) -> list[Json]:
    return list(schema.get("anyOf") or schema.get("oneOf") or [schema])


def _scalar(place: str, one: Json, other: Json) -> list[str]:
    found = []
    types, others = _types(one), _types(other)
    if others and not (types and types <= others):
        found.append(f"{place}: type differs")
    values, admitted = _values(one), _values(other)
    if admitted is not None and (values is None or not values <= admitted):
        found.append(f"{place}: values differ")
    for keyword, sign in [*((key, 1) for key in LOWER), *((key, -1) for key in UPPER)]:
        if keyword in other and (keyword not in one or sign * other[keyword] > sign * one[keyword]):
            found.append(f"{place}: {keyword} differs")
    return found


def _types(schema: Json) -> set[str]:
    named = schema.get("type", [])
    types = {named} if isinstance(named, str) else set(named)
    return types | {"integer"} if "number" in types else types


def _values(schema: Json) -> set[str] | None:
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    return None if listed is None else {repr(value) for value in listed}


def _parameters(place: str, old: tuple[Json, Json], new: tuple[Json, Json]) -> list[str]:
    before, after = ({p["name"]: p for p in _listed(*side)} for side in (old, new))
    found = [f"{place}: parameter {name} is gone" for name in before if name not in after]
    for name, parameter in after.items():
        if parameter.get("required") and not before.get(name, {}).get("required"):
            found.append(f"{place}: parameter {name} is required now")
        if name in before:
            found += Narrowing(old[0], new[0]).find(f"{place} {name}", before[name]["schema"], parameter["schema"])
    return found


def _listed(document: Json, operation: Json) -> list[Json]:
    return [resolved(document, parameter) for parameter in operation.get("parameters", [])]


def _body(place: str, old: tuple[Json, Json], new: tuple[Json, Json]) -> list[str]:
    before, after = old[1].get("requestBody"), new[1].get("requestBody")
    if after is None:
        return []
    if before is None:
        return [f"{place}: a body is required now"]
    found = [f"{place}: {media} is gone" for media in before["content"] if media not in after["content"]]
    for media in before["content"].keys() & after["content"].keys():
        schemas = before["content"][media]["schema"], after["content"][media]["schema"]
        found += Narrowing(old[0], new[0]).find(f"{place} body", *schemas)
    return found


def _answers(place: str, old: tuple[Json, Json], new: tuple[Json, Json]) -> list[str]:
    found = []
    for status, response in old[1]["responses"].items():
        if status in new[1]["responses"]:
            before, after = resolved(old[0], response), resolved(new[0], new[1]["responses"][status])
            found += _answer(f"{place} {status}", (old[0], before), (new[0], after))
        elif status.startswith("2"):  # an error that can no longer happen is no loss
            found.append(f"{place}: answer {status} is gone")
    return found


def _answer(place: str, old: tuple[Json, Json], new: tuple[Json, Json]) -> list[str]:
    lost = old[1].get("headers", {}).keys() - new[1].get("headers", {}).keys()
    found = [f"{place}: header {name} is gone" for name in sorted(lost)]
    for media, content in old[1]["content"].items():
        if media not in new[1]["content"]:
            found.append(f"{place}: {media} is gone")
            continue
        schemas = new[1]["content"][media]["schema"], content["schema"]
        found += Narrowing(new[0], old[0], is_answer=True).find(place, *schemas)
    return found
