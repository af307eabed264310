"""Readers of single settings: text in, value out, or a `WrongValue` that says what would be right.

No message repeats what was written, since a secret may have been pasted into the wrong place.
"""

import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_IS_CHECKOUT: Final = (_PACKAGE.parent / "gunicorn_config.py").is_file()

PROJECT_FOLDER: Final = _PACKAGE.parent if _IS_CHECKOUT else Path.cwd()
"""Where `.env` and `data` are: the checkout; the folder of the call where a wheel is installed."""

SERVER_FOLDER: Final = _PACKAGE.parent if _IS_CHECKOUT else _PACKAGE / "wiring"
"""Where `main.py` and `gunicorn_config.py` are; a wheel brings them inside the package."""

_Choice = TypeVar("_Choice", bound=str)

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})
_SECRET: Final = re.compile(
    r"(?i)(?:app|dataset|sk|pk|key|token)-|(?:bearer|basic) "
    r"|(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{12,}"
    r"|[a-z0-9]{24,}"
)
_KEY_NOT_NAME: Final = re.compile(r"(?i)\bsk-|(?=[a-z]*[0-9])(?=[0-9]*[a-z])[a-z0-9]{16,}")
# Control characters, lone surrogates, line and paragraph separators.
_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIFY_ENDPOINT: Final = re.compile(
    r"(?P<base>.*/v1)/(?:chat-messages|completion-messages|workflows|parameters|info|meta|site|messages"
    r"|conversations|files|audio-to-text|text-to-audio|datasets)(?:/.*)?"
)
_HOST: Final = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_AUTHORITY: Final = re.compile(r"(?i)(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_BARE_ADDRESS: Final = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9/._-]*)?")
_API_KEY_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")


class SettingsError(Exception):
    """The configuration is wrong.

    `faults` holds one line each: the variable, the entry, what would be right; never a secret.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class WrongValue(ValueError):
    """What is wrong with a value, as the second half of a sentence that begins with the setting."""


@dataclass(frozen=True)
class ApiKey:
    """A key that clients present; `id` is safe to log, `key` is not."""

    id: str
    key: str = field(repr=False)


def looks_secret(text: str) -> bool:
    """Whether `text` may be a key or hold one; errs on the side of yes."""
    return _SECRET.search(text) is not None or any(
        _is_scrambled(word) for word in re.findall("[A-Za-z0-9]{8,}", text)
    )


def _is_scrambled(word: str) -> bool:
    # A damaged table can leave a piece of a key where a name is expected: `AsDfGh3J`, not `MyWriter`.
    pieces = re.findall("[A-Z]?[a-z]+|[A-Z]+|[0-9]+", word)
    return len(word) < 2.5 * len(pieces)


def shown(text: str) -> str:
    """`text` quoted for a one-line message, or `(hidden)` where it may be a secret."""
    if looks_secret(text):
        return "(hidden)"
    return repr(text if len(text) <= 60 else text[:57] + "...")


def is_printable(text: str) -> bool:
    """Whether `text` has no control characters, line separators or lone surrogates."""
    return not any(unicodedata.category(character) in _UNPRINTABLE for character in text)


def is_token(text: str) -> bool:
    """Whether `text` can be sent as a bearer token: visible ASCII without blanks."""
    return bool(text) and all("!" <= character <= "~" for character in text)


def one_of(choices: tuple[_Choice, ...]) -> Callable[[str], _Choice]:
    def read(text: str) -> _Choice:
        for choice in choices:
            if text.lower() == choice:
                return choice
        raise WrongValue(f"must be one of {', '.join(choices)}")

    return read


def flag(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise WrongValue("must be true or false")


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # A bound on the digits first: `int` refuses thousands of them with an error of its own.
        if re.fullmatch(r"[0-9]{1,18}", text) and lowest <= int(text) <= highest:
            return int(text)
        raise WrongValue(f"must be a whole number from {lowest} to {highest}")

    return read


def seconds(lowest: float, highest: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) and lowest <= float(text) <= highest:
            return float(text)
        raise WrongValue(f"must be a number of seconds from {lowest:g} to {highest:g}, without a unit")

    return read


def share(text: str) -> float:
    if re.fullmatch(r"[0-9](\.[0-9]{1,9})?", text) and float(text) <= 1:
        return float(text)
    raise WrongValue("must be a number from 0 to 1")


def days(lowest: float, highest: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) and lowest <= float(text) <= highest:
            return float(text)
        raise WrongValue(f"must be a number of days from {lowest:g} to {highest:g}, without a unit")

    return read


def store_url(text: str) -> str:
    if not re.match(
        r"(sqlite:///|rediss?(\+sentinel|\+cluster)?://|postgres(ql)?://)\S", text
    ) or not is_printable(text):
        raise WrongValue(
            "must be sqlite:///data/NAME.db, redis://HOST, redis+sentinel://…, redis+cluster://… or postgresql://HOST/NAME"
        )
    return text


def answer_store(text: str) -> str:
    if text.lower() in {"auto", "off"}:
        return text.lower()
    try:
        return store_url(text)
    except WrongValue as error:
        raise WrongValue(f"{error}, auto or off") from None


def file_store_url(text: str) -> str:
    if not re.match(r"(?i)(?:file:///|s3://)\S", text) or not is_printable(text):
        raise WrongValue("must be file:///data/NAME, or s3://BUCKET/PREFIX")
    return text


def header_names(text: str) -> tuple[str, ...]:
    names = split_list(text)
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name):
            raise WrongValue("must be a comma list of header names, such as X-Chat-Id")
    return tuple(names)


def secret_text(text: str) -> str:
    if not text.strip():
        raise WrongValue("must not be blank")
    return text


def short_text(text: str) -> str:
    if len(text) > 64 or not is_printable(text):
        raise WrongValue("must be at most 64 characters, none of them a control character")
    return text


def path(text: str) -> Path:
    """A path; a relative one starts at the project's folder, wherever the command was typed."""
    if not is_printable(text):
        raise WrongValue("must be a path without control characters")
    return PROJECT_FOLDER / text


def token(text: str) -> str:
    if not is_token(text):
        raise WrongValue("must be one key in visible ASCII characters, without blanks")
    return text


def host(text: str) -> str:
    """A host name or address; IPv6 without brackets."""
    bare = text.removeprefix("[").removesuffix("]")
    if re.fullmatch(r"[A-Za-z0-9._-]+", text) or _is_ipv6(bare):
        return bare
    raise WrongValue("must be a host name or an address, such as 127.0.0.1, without scheme and port")


def host_names(text: str) -> tuple[str, ...]:
    names = tuple(name.lower() for name in split_list(text))
    if not all(_HOST.fullmatch(name) for name in names):
        raise WrongValue("must be a comma list of host names, without scheme, port and path")
    return names


def networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Read a comma list of addresses and ranges."""
    try:
        return tuple(ipaddress.ip_network(entry) for entry in split_list(text))
    except ValueError:
        raise WrongValue("must be a comma list of addresses and ranges, such as 10.0.0.0/8") from None


def origins(text: str) -> tuple[str, ...]:
    """`*`, `off`, or a comma list of origins as browsers send them."""
    if text.lower() == "off":
        return ()
    listed = tuple(origin.lower().removesuffix("/") for origin in split_list(text))
    if listed == ("*",):
        return listed
    if not all(_is_origin(origin) for origin in listed):
        raise WrongValue("must be *, off, or a comma list of origins such as https://chat.example.com")
    return listed


def url_prefix(text: str) -> str:
    """`/x/y` without a slash at the end, or nothing for the root."""
    segments = [segment for segment in text.split("/") if segment]
    if any(segment in (".", "..") or not re.fullmatch(r"[A-Za-z0-9._~-]+", segment) for segment in segments):
        raise WrongValue("must be a path such as /opendify, of letters, digits and . _ ~ -")
    return "".join(f"/{segment}" for segment in segments)


def api_keys(text: str) -> tuple[ApiKey, ...]:
    """Read a comma list of `name:key` or `key`; a key without a name is known by its digest."""
    keys = tuple(_api_key(entry, position) for position, entry in enumerate(split_list(text), start=1))
    for position, later in enumerate(keys, start=1):
        for earlier in keys[: position - 1]:
            if later.id == earlier.id or later.key == earlier.key:
                raise WrongValue(f"entry {position} repeats the name or the key of an earlier entry")
    return keys


def _api_key(entry: str, position: int) -> ApiKey:
    name, colon, key = (part.strip() for part in entry.partition(":"))
    if not colon:
        name, key = "", name
    if not is_token(key):
        raise WrongValue(
            f"entry {position} must be name:key or key, the key in visible ASCII characters, without blanks"
        )
    if not colon:
        return ApiKey(id=hashlib.sha256(key.encode()).hexdigest()[:12], key=key)
    if _KEY_NOT_NAME.search(name):
        # The name is logged as the caller's id, so a swapped entry would publish the key.
        raise WrongValue(f"entry {position} seems to be swapped: write name:key, the name first")
    if not _API_KEY_NAME.fullmatch(name):
        raise WrongValue(f"entry {position} needs a name of 1 to 64 letters, digits and . _ @ -")
    return ApiKey(id=name, key=key)


def api_base(text: str) -> str:
    """The address of a Dify server's API, ending in `/v1`; pasted endpoints are cut back to it."""
    text = text.strip()
    if not is_token(text):
        raise WrongValue("must be an address in visible ASCII characters, without blanks")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise WrongValue(f"must begin with http:// or https://{_suggested_address(text)}")
    if scheme.lower() not in ("http", "https"):
        raise WrongValue("must begin with http:// or https://")
    if "?" in rest or "#" in rest:
        raise WrongValue("must not have a query (?) or a fragment (#)")
    authority, _, endpoint = rest.partition("/")
    if "@" in authority:
        raise WrongValue("must not hold a user name or password; use the model's `headers`")
    if not _is_authority(authority):
        raise WrongValue("must be an address with a valid host and port")
    return f"{scheme.lower()}://{authority.lower()}{_api_path(endpoint)}"


def public_url(text: str) -> str:
    """An address of this service's own, without a slash at its end."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text) or not is_printable(text):
        raise WrongValue("must be an address such as https://ai.example.com, without a query")
    return text.rstrip("/").removesuffix("/v1")


def _api_path(path: str) -> str:
    path = "".join(f"/{segment}" for segment in path.split("/") if segment)
    if pasted := _DIFY_ENDPOINT.fullmatch(path):
        return pasted["base"]
    return path if path.endswith("/v1") else f"{path}/v1"


def _suggested_address(text: str) -> str:
    if not _BARE_ADDRESS.fullmatch(text) or looks_secret(text):
        return ""
    host_name = re.split("[:/]", text)[0]
    is_public = "." in host_name and not host_name.replace(".", "").isdigit() and ":" not in text
    return f": did you mean {'https' if is_public else 'http'}://{text} ?"


def split_list(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _is_origin(text: str) -> bool:
    scheme, separator, authority = text.partition("://")
    return (
        re.fullmatch("[a-z][a-z0-9+.-]*", scheme) is not None and separator != "" and _is_authority(authority)
    )


def _is_authority(text: str) -> bool:
    found = _AUTHORITY.fullmatch(text)
    return found is not None and 0 < int(found["port"] or 1) <= 65_535


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
