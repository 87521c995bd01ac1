from hypothesis import given
from hypothesis import strategies as st

from edgekit.emulate import apt

ONE_LINE = """
# deb http://commented/debian bookworm main
deb http://mirror.test/debian bookworm main contrib  # trailing words
deb-src http://mirror.test/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] https://other.test/apt stable main
not a source
"""
DEB822 = """Types: deb deb-src
# a comment inside
URIs: http://mirror.test/debian
 http://second.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/k.gpg

Types: deb-src
URIs: http://sources.test/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://inline.test/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 xyz
"""


def test_one_line_format():
    assert apt.parse_lines(ONE_LINE) == [
        apt.Source("http://mirror.test/debian", "bookworm", ("main", "contrib")),
        apt.Source("https://other.test/apt", "stable", ("main",), "/usr/share/keyrings/k.gpg"),
    ]


def test_deb822_format():
    key = "/usr/share/keyrings/k.gpg"
    assert apt.parse_deb822(DEB822) == [
        apt.Source("http://mirror.test/debian", "bookworm", ("main",), key),
        apt.Source("http://mirror.test/debian", "bookworm-updates", ("main",), key),
        apt.Source("http://second.test/debian", "bookworm", ("main",), key),
        apt.Source("http://second.test/debian", "bookworm-updates", ("main",), key),
        apt.Source("http://inline.test/debian", "bookworm", ("main",)),
    ]


@given(
    st.builds(
        apt.Source,
        uri=st.from_regex(r"https?://[a-z]{1,9}\.test(/[a-z]{1,5})?", fullmatch=True),
        suite=st.from_regex(r"[a-z]{1,9}(-[a-z]{1,9})?", fullmatch=True),
        components=st.lists(st.sampled_from(["main", "contrib", "non-free"]), min_size=1, unique=True).map(tuple),
        signed_by=st.sampled_from(["", "/usr/share/keyrings/k.gpg"]),
    )
)
def test_a_line_reads_back(source):
    assert apt.parse_lines(source.line()) == [source]


@given(st.text())
def test_no_text_breaks_the_parsers(text):
    apt.parse_lines(text)
    apt.parse_deb822(text)


def test_only_the_hosts_own_release_counts_and_is_turned_to_the_boards():
    sources = [*apt.parse_deb822(DEB822), *apt.parse_lines(ONE_LINE)]
    found = apt.for_suite(sources, "bookworm", "trixie")
    assert {one.suite for one in found} == {"trixie"}
    assert [one.uri for one in found] == [
        "http://mirror.test/debian",
        "http://second.test/debian",
        "http://inline.test/debian",
        "http://mirror.test/debian",
    ]
    assert apt.for_suite(sources, "noble", "bookworm") == []


def test_the_folder_is_read_in_apts_order(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://first.test/debian bookworm main\n")
    (tmp_path / "sources.list.d" / "b.sources").write_text(
        "Types: deb\nURIs: http://b.test/\nSuites: bookworm\nComponents: main\n"
    )
    (tmp_path / "sources.list.d" / "a.list").write_text("deb http://a.test/ bookworm main\n")
    (tmp_path / "sources.list.d" / "c.list.disabled").write_text("deb http://c.test/ bookworm main\n")
    assert [one.uri for one in apt.host_sources(tmp_path)] == [
        "http://first.test/debian",
        "http://a.test/",
        "http://b.test/",
    ]
