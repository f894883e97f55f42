"""Documents as text: templates in, bytes out. All numbers come from RELEASE.json and from counted tables."""

from pathlib import Path
from typing import Any

import jinja2

from danbooru_pipeline.progress import counted, human_bytes, noun

TEMPLATES = Path(__file__).with_name("templates")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _signed(value: int) -> str:
    return f"{value:+,}"


def _round(value: int) -> str:
    """A large number for a headline: 4.94M, 130M, 498k."""
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if value >= unit:
            text = f"{value / unit:.3g}"
            return f"{text}{name}"
    return str(value)


def _bibtex(text: str) -> str:
    """Text that is safe inside braces."""
    escapes = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {c: "\\" + c for c in "#$%&_"}
    return "".join(escapes.get(c, c) for c in text if c not in "{}\\")


def _yaml(text: str) -> str:
    """Text as a YAML scalar in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


# HTML and XML are escaped; in Markdown, YAML and BibTeX the same escapes would be noise.
_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=jinja2.select_autoescape(("html", "atom"), default=False),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_environment.filters |= {
    "n": _number,
    "noun": noun,
    "counted": counted,
    "signed": _signed,
    "short": _round,
    "size": human_bytes,
    "bib": _bibtex,
    "yaml": _yaml,
}


def render(template: str, **values: Any) -> bytes:
    """A template of `TEMPLATES`, filled in. Values in HTML and XML are escaped."""
    return _environment.get_template(template).render(**values).encode()
