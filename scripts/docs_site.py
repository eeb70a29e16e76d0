"""Hooks of the documentation site: pages from outside `docs/`, and the links between them.

The Markdown files read well in a checkout, where a page links to `../README.md`. The site has
the same files as pages, so the links are rewritten when it is built.
"""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "clients/js/README.md": "javascript.md",
    "examples/chat/README.md": "examples/chat.md",
    "examples/custom_backend/README.md": "examples/custom-backend.md",
    "examples/processing_queue/README.md": "examples/processing-queue.md",
    "examples/vercel/README.md": "examples/vercel.md",
    "tests/security/README.md": "attacks.md",
    "tests/vectors/README.md": "vectors.md",
}
"""Path in the repository, and in the site."""

JAVASCRIPT = ROOT / "build" / "javascript"
"""Pages that TypeDoc wrote from the sources of the npm package."""

MERMAID = ROOT / "clients" / "js" / "node_modules" / "@mermaid-js" / "tiny" / "dist"
"""Program that draws the diagrams; the theme would load it from another host."""

SOURCES = {page: source for source, page in OUTSIDE.items()}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside `docs/`."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for path in sorted(JAVASCRIPT.rglob("*.md")):
        page = f"api/javascript/{path.relative_to(JAVASCRIPT).as_posix()}"
        files.append(File.generated(config, page, abs_src_path=str(path)))
    script = str(MERMAID / "mermaid.tiny.js")
    files.append(File.generated(config, "assets/mermaid.js", abs_src_path=script))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Return a page whose links lead to pages of the site."""
    uri = page.file.src_uri
    if uri.startswith("api/javascript/"):
        return markdown.replace("\\<", "&lt;")  # no escape in Python's Markdown
    source = SOURCES.get(uri, f"docs/{uri}")

    def rewrite(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups(default="")
        path = normpath(join(dirname(source), target))
        there = OUTSIDE.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(there) is None and not path.startswith("docs/"):
            return text  # a folder or a file of the repository, which is no page
        return f"{mark}[{text}]({relpath(there, dirname(uri) or '.')}{anchor})"

    return LINK.sub(rewrite, markdown)
