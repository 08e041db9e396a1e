"""String formats, written as regular expressions of our own subset.

Owns the table of formats that can be forced, and of those that promise nothing about the text. Refuses every other
format by name. Invariant: what matches is valid for the format's specification; some valid texts are left out (years
before 1000, leap seconds, quoted mail boxes), none is let in wrongly.
"""

_YEAR_LEAP = "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_DATE = (
    "(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_YEAR_LEAP}-02-29)"
)
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+\\-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_LABEL = "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,20}"
_HOST = f"{_LABEL}(?:\\.{_LABEL}){{0,4}}"
_DOMAIN = f"{_LABEL}(?:\\.{_LABEL}){{0,3}}\\.[A-Za-z]{{2,12}}"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HEX = "[0-9A-Fa-f]"
_SEGMENT = "(?:[A-Za-z0-9\\-._~!$&'()*+,;=:@]|%[0-9A-F]{2})"


def _ipv6() -> str:
    """Eight groups, or `::` somewhere for at least two of them."""
    group = f"{_HEX}{{1,4}}"
    forms = [f"{group}(?::{group}){{7}}"]
    for before in range(7):
        head = "" if before == 0 else group if before == 1 else f"{group}(?::{group}){{{before - 1}}}"
        after = 6 - before
        tail = "" if after == 0 else f"(?:{group}(?::{group}){{0,{after - 1}}})?"
        forms.append(f"{head}::{tail}")
    return "(?:" + "|".join(forms) + ")"


def _duration() -> str:
    """RFC 3339, appendix A."""
    number = "[0-9]{1,6}"
    time = f"T(?:{number}H(?:{number}M(?:{number}S)?)?|{number}M(?:{number}S)?|{number}S)"
    date = f"(?:{number}Y(?:{number}M(?:{number}D)?)?|{number}M(?:{number}D)?|{number}D)"
    return f"P(?:{date}(?:{time})?|{time}|{number}W)"


_PATTERNS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": _duration(),
    "email": f"[A-Za-z0-9_+\\-]{{1,32}}(?:\\.[A-Za-z0-9_+\\-]{{1,16}}){{0,2}}@{_DOMAIN}",
    "hostname": _HOST,
    "ipv4": f"{_OCTET}(?:\\.{_OCTET}){{3}}",
    "ipv6": _ipv6(),
    "uri": f"https?://{_HOST}(?::[1-9][0-9]{{0,3}})?(?:/{_SEGMENT}{{0,40}}){{0,8}}"
    f"(?:\\?(?:{_SEGMENT}|[/?]){{0,96}})?(?:#(?:{_SEGMENT}|[/?]){{0,48}})?",
    "uuid": f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
}

FORMATS = {name: f"^{text}$" for name, text in _PATTERNS.items()}

# say how a text is meant or shown, not how it is written
FREE_FORMATS = frozenset(("directory-path", "file-path", "markdown", "multiline", "password", "path", "text"))
