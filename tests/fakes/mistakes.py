"""Broken configurations, one mistake each: name → (the file's bytes, the key path it must name, words of the message)."""

BASE = """
[upstreams.up]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "never-print-this-key"

[models.m]
targets = [{upstream = "up", model = "x"}]
traits = ["default"]

[models.picture]
type = "image"
targets = [{upstream = "up", model = "y"}]
"""


def _with(more: str, base: str = BASE) -> bytes:
    return (base + more).encode()


MISTAKES: dict[str, tuple[bytes, str, str]] = {
    "typo in a table": (_with("[sever]\nport = 1"), "sever", "expected 'server'"),
    "typo in a key": (_with("[server]\nprot = 1"), "server.prot", "expected 'port'"),
    "typo in an upstream": (_with('[upstreams.e]\nkind = "echo"\ndelay = 1'), "upstreams.e.delay", "expected 'delay_s'"),
    "typo in a model": (_with('[models.n]\ntraget = []'), "models.n.traget", "expected 'targets'"),
    "typo in a target": (
        _with('[models.n]\ntargets = [{upstream = "up", modle = "x"}]'), "models.n.targets.0.modle", "expected 'model'"),
    "unknown kind": (_with('[upstreams.e]\nkind = "opnai"'), "upstreams.e.kind", "unknown kind 'opnai'"),
    "no kind": (_with("[upstreams.e]\n"), "upstreams.e.kind", "no kind"),
    "an upstream that is no table": (b'upstreams.e = 5', "upstreams.e", "not a table"),
    "no base_url": (_with('[upstreams.e]\nkind = "openai"'), "upstreams.e", "'base_url' is missing"),
    "a base_url that is none": (_with('[upstreams.e]\nkind = "openai"\nbase_url = "nowhere"'), "upstreams.e", "nowhere"),
    "a CA file that is not there": (
        _with('[upstreams.e]\nkind = "openai"\nbase_url = "https://x"\nverify = "/missing.pem"'),
        "upstreams.e.verify", "No such file"),
    "a host_cache that is no size": (
        _with('[upstreams.e]\nkind = "llama"\nhost_cache = "lots"'), "upstreams.e.host_cache", "not a size"),
    "a timeout of nothing": (
        _with('[upstreams.e]\nkind = "openai"\nbase_url = "http://x"\ntimeout = {connect_s = 0}'),
        "upstreams.e.timeout.connect_s", "> 0"),
    "trait to a missing model": (_with('[traits.text]\ncode = "n"'), "traits.text.code", "'n' does not exist"),
    "trait to another type": (_with('[traits.text]\ncode = "picture"'), "traits.text.code", "another type"),
    "trait given twice": (_with('[traits.text]\ndefault = "n"'), "models.m.traits", "given twice"),
    "trait of an unknown type": (_with('[traits.txt]\ncode = "m"'), "traits", "one of asr, embedding"),
    "bad measure": (_with('[traits.text]\nfast = {by = "luck"}'), "traits.text.fast.by", "tokens_per_s"),
    "unknown model in a measure": (
        _with('[traits.text]\nfast = {by = "ttft", among = ["n"]}'), "traits.text.fast", "'n' does not exist"),
    "mapping cycle": (_with('[compatibility.text]\na = "b"\nb = "a"'), "compatibility.text.a", "a → b → a"),
    "mapping to nowhere": (_with('[compatibility.text]\na = "n"'), "compatibility.text.a", "leads to 'n'"),
    "unset variable": (_with('[upstreams.e]\nkind = "openai"\nbase_url = "${NOT_SET_ANYWHERE}"'), "upstreams.e.base_url",
        "NOT_SET_ANYWHERE is not set"),
    "malformed variable": (_with('[store]\nurl = "${1X}"'), "store.url", "malformed variable"),
    "duplicate key": (b"[server]\nport = 1\nport = 2", "", "not valid TOML"),
    "duplicate table": (_with("[models.m]\n"), "", "not valid TOML"),
    "no TOML": (b"server: {port: 1}", "", "not valid TOML"),
    "not UTF-8": (b"[server]\nhost = '\xff'", "", "cannot be read"),
    "port out of range": (_with("[server]\nport = 70000"), "server.port", "<= 65535"),
    "wrong type": (_with('[server]\nport = "8000"'), "server.port", "got 'str'"),
    "wrong type in a list": (_with("[models.n]\ntargets = [5]"), "models.n.targets.0", "got 'int'"),
    "not finite": (_with("[server]\ndrain_s = inf"), "server.drain_s", "got inf"),
    "no size": (_with('[server]\nmax_body_bytes = "32XB"'), "server.max_body_bytes", "not a size"),
    "negative size": (_with("[server]\nmax_body_bytes = -1"), "server.max_body_bytes", "not a size"),
    "unknown upstream in a target": (
        _with('[models.n]\ntargets = [{upstream = "upp", model = "x"}]'), "models.n.targets.0.upstream", "expected 'up'"),
    "no targets": (_with("[models.n]\ntargets = []"), "models.n.targets", "at least one"),
    "targets missing": (_with("[models.n]\n"), "models.n", "'targets' is missing"),
    "unknown type": (_with('[models.n]\ntype = "txt"\ntargets = []'), "models.n.type", "text"),
    "weight of nothing": (
        _with('[models.n]\ntargets = [{upstream = "up", model = "x", weight = 0}]'), "models.n.targets.0.weight", "> 0"),
    "a negative price": (
        _with('[models.n]\ntargets = [{upstream = "up", model = "x"}]\npricing = {input_usd = -1}'),
        "models.n.pricing.input_usd", ">= 0"),
    "retry_on": (_with('[routing]\nretry_on = ["sometimes"]'), "routing.retry_on.0", "connect"),
    "a character without a prompt": (_with('[characters.c]\nname = "C"'), "characters.c", "'system_prompt' is missing"),
    "a line break in a name": (_with('[models."a\\nb"]\ntargets = []'), 'models."a\\nb".targets', "no target"),
}  # fmt: skip
ONLY_BUILT = {
    "a base_url that is none",
    "a CA file that is not there",
    "a host_cache that is no size",
}  # found when the upstream is built, not when read
