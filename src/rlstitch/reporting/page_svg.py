"""matplotlib's SVG files as elements of a page: small, and in the colours of its style sheet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree


def page_svg(content: bytes, variables: Mapping[str, str], *, name: str, description: str, classes: str) -> str:
    """Return matplotlib's SVG without what a page does not need: fonts, clipping, style sheet, generated names.

    Styles become attributes, as a Content-Security-Policy with the hash of one style sheet refuses style attributes.

    Args:
        content: the file that matplotlib wrote.
        variables: CSS variables by the colour that each replaces, as `#0072b2`.
        name: unique on the page; identifiers inside the element begin with it.
        description: text for screen readers.
        classes: CSS classes of the element.
    """
    root = ElementTree.fromstring(content)
    svg = ElementTree.Element("svg", {"class": classes, "viewBox": root.attrib["viewBox"], "role": "img"})
    svg.set("aria-label", description)
    svg.extend(part for child in root for part in _simplified(child, variables))
    text = re.sub(r">\s+<", "><", ElementTree.tostring(svg, encoding="unicode")).replace(" />", "/>")
    identifiers = list(dict.fromkeys(re.findall(r'id="(m[0-9a-f]{10})"', text)))
    return re.sub(r'(?<=["#])m[0-9a-f]{10}(?=")', lambda match: f"{name}.{identifiers.index(match[0])}", text)


def _simplified(element: ElementTree.Element, variables: Mapping[str, str]) -> list[ElementTree.Element]:
    """Return what an element becomes: itself with fewer attributes, or its children where it has none left."""
    tag = element.tag.rpartition("}")[2]
    children = [part for child in element for part in _simplified(child, variables)]
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        name = key.rpartition("}")[2]
        if name == "style":
            attributes |= _presentation(value, variables)
        elif not (
            name == "clip-path" or (name == "id" and re.fullmatch(r"[\w.]+_\d+", value)) or value[:9] == "rotate(-0"
        ):
            attributes[name] = value if value.startswith("data:") else _rounded(value)
    invisible = tag == "path" and attributes.get("fill") in ("none", "var(--page)") and "stroke" not in attributes
    if tag in ("style", "clipPath") or invisible or (tag in ("g", "defs") and not children):
        return []
    if tag == "g" and children and all(child.tag == "use" for child in children):
        for key in [key for key, value in children[0].items() if key not in ("x", "y")]:
            if all(child.get(key) == children[0].get(key) for child in children) and key != "href":
                attributes[key] = children[0].attrib[key]
                for child in children:
                    del child.attrib[key]
    if tag == "g" and not attributes:
        return children
    simple = ElementTree.Element(tag, attributes)
    simple.text = element.text
    simple.extend(children)
    return [simple]


def _presentation(style: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the declarations of a style as attributes, with variables for colours; of a font, its size."""
    declarations = dict(part.strip().split(": ", 1) for part in style.split(";") if part.strip())
    font = declarations.pop("font", "") + declarations.pop("font-size", "")
    for name in ("font-family", "stroke-linejoin", "stroke-dashoffset"):
        declarations.pop(name, None)
    if (size := re.search(r"([\d.]+)px", font)) and size[1] != "12":  # the size of the style sheet
        declarations["font-size"] = size[1]
    return {key: variables.get(value, value) for key, value in declarations.items()}


def _rounded(text: str) -> str:
    """Return coordinates with one decimal and no white space that is not needed."""
    text = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), text)
    return re.sub(r"\s*([MLCQz])\s*", r"\1", text).strip() if re.match(r"M[ \d-]", text) else text
