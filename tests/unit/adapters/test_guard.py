"""The URL policy: what is refused, what is pinned, and that a redirect is a URL like any other."""

import pytest

from adapters.guard import Aim, Pin, Refused, UrlPolicy, entry_of, metadata, pin, public
from proxy.errors import BadRequest

FILES = UrlPolicy(["files.vaikerai.com", "amazonaws.com"], own="https://api.vaikerai.com/v1")
ANYWHERE = UrlPolicy(None)

PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.31.0.1",
    "192.168.1.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1",
    "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
    "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::", "fe80::1%eth0", "2001:db8::1",
    "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "100.63.0.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_that_are_public(address: str) -> None:
    assert public(address)
    assert not metadata(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://files.vaikerai.com/a.png",
        "https://x.y.files.vaikerai.com/a.png",
        "https://FILES.vaikerai.com./a.png",
        "https://faas.s3.amazonaws.com/a.png?X-Amz-Expires=3600",
        "https://files.vaikerai.com:443/a.png",
    ],
)
def test_listed_hosts_and_their_subdomains_pass_without_credentials(url: str) -> None:
    aim = FILES.judge(url)
    assert isinstance(aim, Aim)
    assert not aim.credentials
    assert not aim.trusted


@pytest.mark.parametrize(
    "url",
    [
        "https://evilfiles.vaikerai.com.evil.example/a.png",
        "https://notfiles-vaikerai.com/",
        "https://xfiles.vaikerai.com/",  # no label boundary
        "https://evilamazonaws.com/",
        "https://vaikerai.com/a.png",
        "http://files.vaikerai.com/a.png",
        "https://files.vaikerai.com:8443/a.png",
        "https://files.vaikerai.com@evil.example/",
        "https://files.vaikerai.com\\@evil.example/",
        "https://evil.example#files.vaikerai.com",
        "https://user:pass@files.vaikerai.com/",
        "ftp://files.vaikerai.com/",
        "file:///etc/passwd",
        "gopher://files.vaikerai.com/",
        "//files.vaikerai.com/",
        "https://",
        "https:///x",
        "https://files.vaikerai.com:0/",
        "https://files.vaikerai.com:99999/",
        "https://files.vaikerai.com/\r\nHost: evil",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://metadata.google.internal/computeMetadata/v1/",
        "https://[::1",
        "http://api.vaikerai.com/v1/files/1",
        "https://api.vaikerai.com:8443/v1/files/1",
    ],
)
def test_what_the_list_does_not_name_is_refused(url: str) -> None:
    assert isinstance(FILES.judge(url), Refused)


def test_only_the_apis_own_origin_gets_credentials() -> None:
    aim = FILES.judge("https://api.vaikerai.com/v1/files/1")
    assert isinstance(aim, Aim)
    assert aim.credentials
    assert isinstance(FILES.judge("https://sub.api.vaikerai.com/v1/files/1"), Refused)


def test_unicode_hosts_become_ascii_before_they_are_compared() -> None:
    policy = UrlPolicy(["bücher.example"])
    aim = policy.judge("https://BÜCHER.example/x")
    assert isinstance(aim, Aim)
    assert aim.host == "xn--bcher-kva.example"
    # Full-width digits and dots fold to an address, which must be seen as one.
    folded = ANYWHERE.judge("https://１２７.０.０.１/")
    assert isinstance(folded, Refused) or isinstance(ANYWHERE.choose(folded, ["127.0.0.1"]), Refused)


@pytest.mark.parametrize(
    "entry",
    ["127.0.0.1", "localhost", "http://files.corp.example", "minio", "127.0.0.1:9000"],
)
def test_a_host_of_ones_own_listed_by_name_may_be_private_and_plain_http(
    entry: str,
) -> None:
    policy = UrlPolicy([entry])
    host = entry.removeprefix("http://").partition(":")[0]
    port = ":9000" if entry.endswith(":9000") else ""
    aim = policy.judge(f"http://{host}{port}/x.png")
    assert isinstance(aim, Aim), aim
    assert policy.choose(aim, ["127.0.0.1"]) == Pin(aim, "127.0.0.1")


def test_a_public_name_on_the_list_may_not_resolve_to_a_private_address() -> None:
    aim = FILES.judge("https://files.vaikerai.com/a.png")
    assert isinstance(aim, Aim)
    for addresses in (
        ["127.0.0.1"],
        ["1.1.1.1", "10.0.0.1"],
        ["::ffff:192.168.0.1"],
        [],
    ):
        assert isinstance(FILES.choose(aim, addresses), Refused)
    assert FILES.choose(aim, ["1.1.1.1", "8.8.8.8"]) == Pin(aim, "1.1.1.1")


def test_a_subdomain_of_a_private_name_is_not_that_name() -> None:
    policy = UrlPolicy(["localhost"])
    assert isinstance(policy.judge("http://x.localhost/"), Refused)


def test_metadata_addresses_are_never_allowed_even_when_listed() -> None:
    policy = UrlPolicy(["169.254.169.254", "http://imds.corp.example"])
    for url in (
        "http://169.254.169.254/latest/meta-data/",
        "http://imds.corp.example/",
    ):
        aim = policy.judge(url)
        assert isinstance(aim, Aim)
        assert isinstance(policy.choose(aim, ["169.254.169.254"]), Refused)
        assert isinstance(policy.choose(aim, ["::ffff:169.254.169.254"]), Refused)


def test_a_listed_port_binds() -> None:
    policy = UrlPolicy(["127.0.0.1:9000"])
    assert isinstance(policy.judge("http://127.0.0.1:9001/"), Refused)


def test_redirects_are_judged_like_the_first_hop() -> None:
    aim = FILES.judge("https://files.vaikerai.com/a.png")
    assert isinstance(aim, Aim)
    onward = FILES.redirect(aim, "/b.png", 0)
    assert isinstance(onward, Aim)
    assert onward.url == "https://files.vaikerai.com/b.png"
    for bad in (
        "http://127.0.0.1/",
        "//evil.example/x",
        "http://files.vaikerai.com/b",
        "https://169.254.169.254/",
    ):
        assert isinstance(FILES.redirect(aim, bad, 0), Refused)
    assert isinstance(FILES.redirect(aim, "/b.png", 3), Refused)


def test_a_redirect_never_gains_credentials_on_another_origin() -> None:
    own = FILES.judge("https://api.vaikerai.com/v1/files/1")
    assert isinstance(own, Aim)
    onward = FILES.redirect(own, "https://files.vaikerai.com/1", 0)
    assert isinstance(onward, Aim)
    assert not onward.credentials


@pytest.mark.parametrize("text", ["https://h/path", "user@h", "ftp://h", "", "h/../x", "127.1", "h:notaport"])
def test_entries_that_are_no_host_are_told_at_the_start(text: str) -> None:
    with pytest.raises(ValueError):
        entry_of(text)


@pytest.mark.asyncio
async def test_pin_resolves_once_and_refuses_in_the_callers_words() -> None:
    asked: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(f"{host}:{port}")
        return ["1.1.1.1"] if host.startswith("good") else ["10.0.0.1"]

    def refuse(reason: str) -> BadRequest:
        return BadRequest(reason, param="image_url")

    found = await pin(ANYWHERE, "https://good.example/a", refuse=refuse, resolver=resolver)
    assert (found.address, found.aim.host, asked) == (
        "1.1.1.1",
        "good.example",
        ["good.example:443"],
    )
    with pytest.raises(BadRequest, match="not public"):
        await pin(ANYWHERE, "https://bad.example/a", refuse=refuse, resolver=resolver)
    with pytest.raises(BadRequest, match="only https"):
        await pin(ANYWHERE, "http://good.example/a", refuse=refuse, resolver=resolver)


@pytest.mark.asyncio
async def test_pin_never_asks_a_resolver_about_an_address() -> None:
    async def resolver(host: str, port: int) -> list[str]:
        raise AssertionError("an address needs no resolver")

    policy = UrlPolicy(["127.0.0.1"])
    found = await pin(policy, "http://127.0.0.1:8123/f", refuse=BadRequest, resolver=resolver)
    assert found.address == "127.0.0.1"


@pytest.mark.asyncio
async def test_a_name_without_address_is_refused_not_raised() -> None:
    async def resolver(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(BadRequest, match="could not be resolved"):
        await pin(ANYWHERE, "https://nowhere.example/", refuse=BadRequest, resolver=resolver)
