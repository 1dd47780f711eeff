"""Files of a checkout are read within its folder and within bounds."""

from __future__ import annotations

import os

import pytest

from receiver.codecs.checkout import MAX_DEPTH, MAX_FILE_BYTES, checked_name, open_checkout
from receiver.errors import CodecSourceError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "checkout" / "vendor").mkdir(parents=True)
    return tmp_path / "checkout"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../secret", ".git/config", "", "a//b", "a\nb", "a\\b"]
)
def test_a_name_that_could_lead_out_is_refused(root, name):
    (root.parent / "secret").write_text("x")
    checkout = open_checkout(root)

    with pytest.raises(CodecSourceError, match="not a plain file name"):
        checkout.text(name)
    assert not checkout.has(name)


def test_a_link_that_leads_out_is_refused(root):
    (root.parent / "secret.js").write_text("x")
    (root / "vendor" / "a.js").symlink_to(root.parent / "secret.js")
    checkout = open_checkout(root)

    with pytest.raises(CodecSourceError, match="leads out of"):
        checkout.text("vendor/a.js")
    assert checkout.files("vendor", ".js") == []


def test_a_link_within_is_followed(root):
    (root / "b.js").write_text("x")
    (root / "vendor" / "a.js").symlink_to(root / "b.js")

    assert open_checkout(root).text("vendor/a.js") == "x"


def test_links_in_a_circle_are_no_file(root):
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")

    with pytest.raises(CodecSourceError):
        open_checkout(root).text("a")


def test_what_is_no_regular_file_is_not_opened(root):
    os.mkfifo(root / "pipe.js")

    with pytest.raises(CodecSourceError, match="is not in"):
        open_checkout(root).text("pipe.js")


def test_a_file_of_the_greatest_size_is_read(root):
    (root / "a.js").write_bytes(b"x" * MAX_FILE_BYTES)

    assert len(open_checkout(root).text("a.js")) == MAX_FILE_BYTES


def test_a_file_one_byte_larger_is_not(root):
    (root / "a.js").write_bytes(b"x" * (MAX_FILE_BYTES + 1))

    with pytest.raises(CodecSourceError, match="larger than"):
        open_checkout(root).text("a.js")


def test_a_byte_order_mark_is_taken_off(root):
    (root / "a.json").write_bytes(b"\xef\xbb\xbf[1]")

    assert open_checkout(root).json("a.json") == [1]


def test_text_that_is_not_utf_8_is_refused(root):
    (root / "a.js").write_bytes(b"abc\xff")

    with pytest.raises(CodecSourceError, match="not UTF-8 at byte 3"):
        open_checkout(root).text("a.js")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "1" * 10_000, "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)])
def test_json_that_is_none_or_too_deep_is_refused(root, text):
    (root / "a.json").write_text(text)

    with pytest.raises(CodecSourceError, match=r"a\.json is n"):
        open_checkout(root).json("a.json")


@pytest.mark.parametrize(
    ("spelled", "value"),
    [
        ("1e999", None),
        ("NaN", None),
        ("-Infinity", None),
        ('"a\\ud800"', "a?"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("1.5", 1.5),
    ],
)
def test_what_json_can_spell_and_not_hold_is_taken_for_the_like(root, spelled, value):
    (root / "a.json").write_text(f"[{spelled}]")

    assert open_checkout(root).json("a.json") == [value]


@pytest.mark.parametrize(
    "files",
    [
        {"HEAD": COMMIT},
        {"HEAD": "ref: refs/heads/main", "refs/heads/main": COMMIT},
        {"HEAD": "ref: refs/heads/main", "packed-refs": f"# pack-refs with: peeled\n{COMMIT} refs/heads/main"},
    ],
    ids=["detached", "branch", "packed"],
)
def test_the_commit_is_told_where_git_has_it_in_a_file(root, files):
    for name, text in files.items():
        (root / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / ".git" / name).write_text(f"{text}\n")

    assert open_checkout(root).tell("a.js") == f"a.js, commit {COMMIT[:12]}"


@pytest.mark.parametrize("head", ["ref: refs/heads/../../../x", "ref: refs/heads/none", "nonsense", ""])
def test_an_odd_head_tells_no_commit(root, head):
    (root / ".git").mkdir()
    (root / ".git" / "HEAD").write_text(head)

    assert open_checkout(root).tell("a.js") == "a.js"


@pytest.mark.parametrize("text", ["a", "a/b/c", "../a", "a/..", "/a", "a/"])
def test_a_device_is_named_by_its_vendor_and_its_own_name(text):
    with pytest.raises(CodecSourceError, match="write for example acme/t1"):
        checked_name(text, "acme/t1")


def test_a_checkout_is_a_folder(root):
    with pytest.raises(CodecSourceError, match="is not a folder"):
        open_checkout(root / "none")
