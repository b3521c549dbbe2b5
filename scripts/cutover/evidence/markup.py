"""HTML and SVG as values: text becomes markup in one place, escaped, so that no record can write into the page."""

from __future__ import annotations

from html import escape

__all__ = ["Child", "Markup", "element", "join"]

_VOID = frozenset({"meta", "br", "hr", "circle", "line", "polyline", "rect"})


class Markup(str):
    """HTML that `element` made; every other text is escaped where it becomes part of some."""

    __slots__ = ()


Child = Markup | str | int | float | None


def element(tag: str, *children: Child, **attributes: Child) -> Markup:
    """An element; `class_` is the attribute class, an underscore in a name a hyphen, None leaves it out."""
    pairs = (
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    begin = f"<{tag}{''.join(pairs)}>"
    if tag in _VOID and not children:
        return Markup(begin.replace(">", "/>") if tag not in {"meta", "br", "hr"} else begin)
    return Markup(f"{begin}{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Children one after the other; None is nothing."""
    return Markup("".join(_markup(child) for child in children if child is not None))


def _markup(child: Child) -> str:
    return child if isinstance(child, Markup) else escape(str(child))
