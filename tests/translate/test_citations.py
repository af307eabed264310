import pytest

from opendify.settings import CitationStyle
from opendify.translate.citation_filters import citation_filters
from opendify.translate.dify_citations import read_citations
from opendify.translate.dify_extension import url_annotations
from opendify.translate.turn import Citation, Citations, ReplyEnded, ReplyEvent, TextDelta

PAGE = Citation(1, document_name="Returns", dataset_name="Handbook", url="https://example.com/returns")
FILE = Citation(2, document_name="facts.txt", score=0.5)


def told(style: CitationStyle, *events: ReplyEvent) -> list[ReplyEvent]:
    replies = list(events)
    for stage in citation_filters(style):
        replies = [out for event in replies for out in stage.feed(event)]
    return replies


@pytest.mark.parametrize("resources", [None, [], {}, "none", [None, 1]])
def test_without_resources_nothing_is_cited(resources: object) -> None:
    assert list(read_citations(resources)) == []


def test_a_resource_is_read_leniently() -> None:
    resource = {"document_name": "facts.txt", "score": "high", "content": None, "position": None}

    assert list(read_citations([resource])) == [Citations((Citation(1, document_name="facts.txt"),))]


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ({"doc_metadata": {"url": "https://a.example/1"}}, "https://a.example/1"),
        ({"doc_metadata": {"source": "website_crawl", "link": "http://a.example"}}, "http://a.example"),
        ({"document_name": "https://a.example/2"}, "https://a.example/2"),
        ({"doc_metadata": {"url": "javascript:alert(1)"}}, None),
        ({"document_name": "see https://a.example"}, None),
        ({"doc_metadata": ["https://a.example"]}, None),
    ],
)
def test_only_a_document_of_the_web_has_a_url(resource: dict[str, object], url: str | None) -> None:
    [citations] = read_citations([resource])

    assert citations.citations[0].url == url


def test_only_what_has_a_url_is_an_annotation() -> None:
    assert url_annotations((PAGE, FILE), 7) == [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": 7,
                "end_index": 7,
                "url": "https://example.com/returns",
                "title": "Returns",
            },
        }
    ]


def test_footnotes_follow_the_whole_text() -> None:
    cited, ended = Citations((PAGE, FILE)), ReplyEnded()

    assert told("footnotes", TextDelta("Yes."), cited, TextDelta(" Really."), ended) == [
        TextDelta("Yes."),
        cited,
        TextDelta(" Really."),
        TextDelta("\n\n[1] Returns (Handbook) https://example.com/returns  \n[2] facts.txt"),
        ended,
    ]


def test_an_answer_without_citations_has_no_footnotes() -> None:
    assert told("footnotes", TextDelta("Yes."), ReplyEnded()) == [TextDelta("Yes."), ReplyEnded()]


def test_citations_can_be_left_out() -> None:
    assert told("off", TextDelta("Yes."), Citations((PAGE,)), ReplyEnded()) == [
        TextDelta("Yes."),
        ReplyEnded(),
    ]
