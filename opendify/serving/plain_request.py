"""A request whose head holds nothing unusual: taken apart at once, where Gunicorn's parser takes long."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gunicorn.config import Config
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

# Lines that mean the same to everybody: a usual method, a path of printable characters, no name with a `_`,
# no line that goes on, no control characters.
_PLAIN: Final = re.compile(
    r"(?P<line>(?P<method>GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) "
    r"(?P<uri>(?P<path>/(?:[!\"$-.0->@-~][!\"$->@-~]*)?)(?:\?(?P<query>[!\"$-~]*))?) HTTP/1\.1)\r\n"
    r"(?P<fields>(?:[!#$%&'*+\-.^`|~0-9A-Za-z]+:[ \t\x21-\x7e\x80-\xff]*\r\n)+)\r\n"
)
# A value ends where its last sign is, which is looked for from behind: from before, blanks take time squared.
_FIELD: Final = re.compile(r"([^:]+):[ \t]*([^\r]*[^\r \t]|)[ \t]*\r\n")
# Where there is one of these, the rest may mean something else.
_UNUSUAL: Final = frozenset({"TRANSFER-ENCODING", "EXPECT", "UPGRADE"})
_DIGITS: Final = re.compile("[0-9]{1,18}")
_LONGEST_LINE: Final = 4_094
_LONGEST_HEAD: Final = 8_190


class HeadRequest(Request):
    """Gunicorn's, which looks a client's address up in its lists for every request anew."""

    unreader: "TrustingUnreader"
    # The stubs do not know them.
    _peer_trusted_for_forwarded: Callable[[], tuple[Mapping[str, str], Sequence[str]]]
    _apply_header_policy: Callable[..., object]

    def _peer_is_trusted_proxy(self) -> bool:
        if self.unreader.peer_is_trusted is None:
            trusts = super()._peer_is_trusted_proxy  # type: ignore[misc] # The stubs do not know it.
            self.unreader.peer_is_trusted = trusts()
        return bool(self.unreader.peer_is_trusted)


class TrustingUnreader(Unreader):
    """Remembers of a connection what its requests would find out one by one."""

    peer_is_trusted: bool | None = None


class PlainRequest(HeadRequest):
    """As Gunicorn's would be, had it parsed the same head; `length` is that of the body.

    `fields` are the headers by their names in upper case, each of which stands but once.
    """

    version = (1, 1)
    fragment = ""
    scheme = "http"
    proxy_protocol_info = None
    _expected_100_continue = False
    _body: Body | None = None

    def __init__(
        self,
        cfg: Config,
        unreader: TrustingUnreader,
        peer_addr: tuple[str, int],
        number: int,
        line: re.Match[str],
        fields: dict[str, str],
    ) -> None:
        # Nothing is left for Gunicorn's own to do.
        self.cfg, self.unreader, self.req_number = cfg, unreader, number
        self.peer_addr = self.remote_addr = peer_addr
        self.method, self.uri, self.path, query = line.group("method", "uri", "path", "query")
        self.query = query or ""
        self.fields, self.headers, self.trailers = fields, list(fields.items()), []
        self.length = int(fields.get("CONTENT-LENGTH", 0))
        self.must_close = fields.get("CONNECTION", "").lower() == "close"
        self._believe_proxies()

    @property
    def body(self) -> Body:  # type: ignore[override] # Few read it so.
        """As in the base class."""
        if self._body is None:
            self._body = Body(LengthReader(self.unreader, self.length))
        return self._body

    def should_close(self) -> bool:
        """As in the base class."""
        return self.must_close

    def _believe_proxies(self) -> None:
        """What a proxy says of the scheme, where it is trusted."""
        if self.fields.keys().isdisjoint(self.cfg.secure_scheme_headers):
            return
        schemes, forwarders = self._peer_trusted_for_forwarded()
        scheme_state, seen = [False], set[str]()
        for name, value in self.headers:
            if name in schemes:
                self._apply_header_policy(name, value, scheme_state, seen, schemes, forwarders)


def read_plain(
    cfg: Config, unreader: TrustingUnreader, peer_addr: tuple[str, int], number: int, head: bytes
) -> PlainRequest | None:
    """The request with this `head`, from its first byte to the empty line; None where it is not plain.

    Raises:
        ParseException: It is, and Gunicorn refuses what it says.
    """
    plain = _PLAIN.fullmatch(head.decode("latin-1"))
    if plain is None or len(head) > _LONGEST_HEAD or cfg.proxy_protocol != "off":
        return None
    names, values = zip(*_FIELD.findall(plain["fields"]), strict=True)
    fields = dict(zip(map(str.upper, names), values, strict=True))
    is_usual = len(fields) == len(names) and fields.keys().isdisjoint(_UNUSUAL)
    if not is_usual or not _is_within_limits(cfg, plain, fields):
        return None
    return PlainRequest(cfg, unreader, peer_addr, number, plain, fields)


def _is_within_limits(cfg: Config, plain: re.Match[str], fields: Mapping[str, str]) -> bool:
    """Not longer than Gunicorn allows, or than is usual."""
    limit = cfg.limit_request_line
    return (
        plain.end("line") <= (limit if 0 < limit < _LONGEST_LINE else _LONGEST_LINE)
        and len(fields) <= cfg.limit_request_fields
        and len(plain[0]) <= (cfg.limit_request_field_size or _LONGEST_HEAD)
        and _DIGITS.fullmatch(fields.get("CONTENT-LENGTH", "0")) is not None
    )
