"""Dify's `retriever_resources` → `Citations`."""

import re
from collections.abc import Iterator, Mapping

from opendify.translate.turn import Citation, Citations

_URL = re.compile(r"https?://[^\s<>\"]+")
# Where knowledge bases keep a document's address: Dify itself has no field for it.
_METADATA_NAMES = ("url", "source_url", "link", "source")


def read_citations(resources: object) -> Iterator[Citations]:
    """The citations, if there are any; what is no object is passed over.

    Every key may be missing or null, and older versions send fewer of them.
    """
    listed = resources if isinstance(resources, list) else []
    citations = tuple(
        _read_citation(position, resource)
        for position, resource in enumerate(listed, start=1)
        if isinstance(resource, dict)
    )
    if citations:
        yield Citations(citations)


def _read_citation(position: int, resource: Mapping[str, object]) -> Citation:
    given, score = resource.get("position"), resource.get("score")
    return Citation(
        position=given if isinstance(given, int) else position,
        document_id=_text(resource, "document_id"),
        document_name=_text(resource, "document_name") or _text(resource, "title"),
        dataset_id=_text(resource, "dataset_id"),
        dataset_name=_text(resource, "dataset_name"),
        segment_id=_text(resource, "segment_id"),
        score=float(score) if isinstance(score, int | float) else None,
        text=_text(resource, "content"),
        url=_find_url(resource),
    )


def _find_url(resource: Mapping[str, object]) -> str | None:
    """The document's address: in its metadata, or as its name, as web crawls name pages."""
    metadata = resource.get("doc_metadata")
    places = [
        *((metadata.get(name) for name in _METADATA_NAMES) if isinstance(metadata, dict) else ()),
        *(resource.get(name) for name in ("url", "document_name", "title")),
    ]
    return next((place for place in places if isinstance(place, str) and _URL.fullmatch(place)), None)


def _text(resource: Mapping[str, object], name: str) -> str | None:
    value = resource.get(name)
    return value if isinstance(value, str) and value else None
