"""`nas cache`: the decoded images that are kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.text import Text

from nas.commands import options
from nas.commands.console import console, print_json
from nas.commands.tables import facts, table
from nas.wording import duration, human

if TYPE_CHECKING:
    from rich.console import Console

    from nas.documents import Document


def cache(
    cache: options.CacheFolder = None,
    empty: options.Empty = False,
    json: options.Json = False,
) -> None:
    """Show or empty the cache of decoded images.

    [bold]Example:[/]  nas cache --empty
    """
    from estimators.decoded_cache import LIMIT_BYTES, cache_folder, entries, remove, remove_parts
    from searchspaces import UserError

    folder = cache_folder(cache)
    if folder is None:
        raise UserError("there is no cache: NAS_CACHE or --cache turned it off")
    found = entries(folder)
    if empty:
        remove(folder, [each["name"] for each in found])
        remove_parts(folder)
    document: Document = {
        "folder": str(folder),
        "limit_bytes": LIMIT_BYTES,
        "bytes": sum(each.get("bytes", 0) for each in found),
        "entries": [{**each, "bad": len(each.get("bad", ()))} for each in found],
        "emptied": empty,
    }
    if json:
        return print_json(document)
    show_cache(document, console())


def show_cache(document: Document, console: Console) -> None:
    """`nas cache`."""
    made = table("data", "images>", "image size>", "size>", "last used>")
    for one in document["entries"]:
        cells = [f"{one.get('images', 0):,}", str(one.get("image_size", "?")), f"{human(one.get('bytes', 0))}B"]
        made.add_row(Text(one.get("data", "damaged")), *cells, f"{duration(max(time.time() - one['used'], 0))} ago")
    if document["entries"] and not document["emptied"]:
        console.print(made)
    told = f"{human(document['bytes'])}B of at most {human(document['limit_bytes'])}B"
    rows = ("removed" if document["emptied"] else "kept", told), ("folder", Text(document["folder"]))
    console.print(facts(*rows))
