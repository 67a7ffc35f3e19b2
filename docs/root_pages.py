"""Pages of the site that lie in the root of the repository, and files of it that pages link to.

README.md is the site's home page. Links are written so that they work in the repository; here a link to a page of
`docs/` becomes one to that page, and a link to any other file of the repository one to a copy of it in the site. The
name of a page of the gallery becomes a link to it where `make gallery` has made it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
GALLERY: Final = re.compile(r"`(gallery/\w+\.html)`")
LINK: Final = re.compile(r"(?<=\]\()([^)#:\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: Any) -> Files:
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    texts = [(file, PAGES_OF.get(file.src_uri, f"docs/{file.src_uri}")) for file in files.documentation_pages()]
    linked = {name for file, source in texts for name in _links(file.content_string, source) if _is_copied(name)}
    for name in sorted(linked):
        files.append(File.generated(config, f"repository/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    source = PAGES_OF.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri) or "."

    def moved(link: re.Match[str]) -> str:
        name = _in_repository(link[1], source)
        if name in PAGES:
            target = PAGES[name]
        elif _is_copied(name):
            target = f"repository/{name}"
        else:
            target = name.removeprefix("docs/")  # one that is nowhere is left for mkdocs to refuse
        return posixpath.relpath(target, here) + (link[2] or "")

    return LINK.sub(moved, GALLERY.sub(_opened, markdown))


def _opened(name: re.Match[str]) -> str:
    return f"[{name[0]}]({name[1]})" if (ROOT / "docs" / name[1]).is_file() else name[0]


PAGES_OF: Final = {page: source for source, page in PAGES.items()}


def _links(text: str, source: str) -> list[str]:
    return [_in_repository(link[1], source) for link in LINK.finditer(text)]


def _in_repository(link: str, source: str) -> str:
    """A link of a file as a path from the root of the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _is_copied(name: str) -> bool:
    return name not in PAGES and not name.startswith("docs/") and (ROOT / name).is_file()
