"""XML read safely: no entities, no DTD, no network; elements by local name; template holes are absent values."""
from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from topics.codec import BYTES_IN_MAX, VALUE_SHOWN_MAX, Refused

HOLE = re.compile(r"\s*(\{\{.*\}\})?\s*", re.DOTALL)
"""Empty, or a placeholder that the sender's template left unfilled."""


def looks_like_xml(data: bytes) -> bool:
    """The first character is `<`, in UTF-8 or UTF-16, with or without a byte order mark."""
    return data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<")


def parse(data: bytes) -> Node:
    """The root. Raises Refused: TOO_LARGE, XML_DOCTYPE, NOT_XML."""
    if len(data) > BYTES_IN_MAX:
        raise Refused("TOO_LARGE", "$", f"{len(data)} bytes", f"more than {BYTES_IN_MAX} bytes")
    if b"<!DOCTYPE" in data:
        raise Refused("XML_DOCTYPE", "$", "", "a document type declaration is never needed and never read")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
                             remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Refused("NOT_XML", "$", data[:40].decode("utf-8", "replace"), str(error)[:VALUE_SHOWN_MAX]) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise Refused("XML_DOCTYPE", "$", "", "a document type declaration is never needed and never read")
    return Node(root, set())


class Node:
    """An element that remembers which leaves were read, so that what was not read can be listed."""

    __slots__ = ("_element", "_read")

    def __init__(self, element: etree._Element, read: set[etree._Element]) -> None:
        self._element, self._read = element, read

    @property
    def name(self) -> str:
        return str(etree.QName(self._element).localname)

    @property
    def namespace(self) -> str:
        return str(etree.QName(self._element).namespace or "")

    def attribute(self, name: str) -> str:
        return str(self._element.get(name, ""))

    def all(self, path: str) -> Iterator[Node]:
        """Descendants along a path of local names, in document order."""
        first, _, rest = path.partition("/")
        for child in self._element.iterchildren("{*}" + first):
            node = Node(child, self._read)
            if rest:
                yield from node.all(rest)
            else:
                yield node

    def one(self, path: str) -> Node | None:
        """The first element along the path."""
        return next(self.all(path), None)

    def text(self, *paths: str) -> str:
        """The text of the first element that has one, along any of the paths; holes and blanks are absent: ""."""
        for path in paths:
            for node in self.all(path):
                if value := node.value:
                    return value
        return ""

    @property
    def value(self) -> str:
        """This leaf's text; "" when absent or a hole."""
        self._read.add(self._element)
        raw = self._element.text or ""
        return "" if HOLE.fullmatch(raw) else raw.strip()

    def unread(self, skip: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Leaves with a value that nobody has read, as (path, value); `skip` names elements that say nothing (sequence numbers)."""
        for element in self._element.iter():
            if len(element) or element in self._read:
                continue
            raw = element.text or ""
            if HOLE.fullmatch(raw) or etree.QName(element).localname in skip:
                continue
            yield self._path(element), raw.strip()

    def holes(self) -> bool:
        """Whether any leaf is an unfilled placeholder."""
        return any("{{" in (element.text or "") for element in self._element.iter())

    def _path(self, element: etree._Element) -> str:
        parts: list[str] = []
        here: etree._Element | None = element
        while here is not None and here is not self._element:
            name = str(etree.QName(here).localname)
            same = sum(1 for _ in here.itersiblings(here.tag, preceding=True))
            parts.append(f"{name}[{same + 1}]" if same else name)
            here = here.getparent()
        return "/".join(reversed(parts))
