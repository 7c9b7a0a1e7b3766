"""Names that whoever can write to a store may choose: they lead below the folder asked for, or nowhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import InputError, SpecError
from common.store.names import checked, inside, write_below
from common.store.objects import FolderObjects, Objects, S3Objects
from common.store.sealed import ArtifactStore, open_store
from tests.common.store.network import client

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
BAD = {
    "up": "../x",
    "up from within": "a/../../x",
    "absolute": "/tmp/undertone-x",
    "nothing": "",
    "an empty part": "a//b",
    "a slash at the end": "a/",
    "here": "./x",
    "only dots": "..",
    "NUL": "a\0b",
    "line end": "a\nb",
    "backslash": "a\\..\\x",
    "no text": "\ud800",
    "long part": "x" * 256,
    "long part of few letters": "ü" * 128,
    "long name": "/".join(["x" * 200] * 6),
}
bad = pytest.mark.parametrize("name", BAD.values(), ids=BAD)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@bad
def test_a_bad_name_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    for call in (lambda: inside(tmp_path, name), lambda: checked(name), lambda: write_below(tmp_path, {name: b"1"})):
        with pytest.raises(InputError, match=r"bad name in the store, .*; allowed: printable parts") as caught:
            call()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert tree(tmp_path) == {} and not Path("/tmp/undertone-x").exists()


@pytest.mark.parametrize(
    "name", ["a", "a/b.json", "...", "a..b/..c", "ü 1/日本", "x" * 255, "trajectory/step-000001/x"]
)
def test_a_good_name_comes_back(objects: Objects, tmp_path: Path, name: str) -> None:
    write_below(tmp_path / "out", {name: b"1"})
    assert inside(tmp_path / "out", name).read_bytes() == b"1"
    objects.put(f"k/{name}", b"2", once=True)
    assert objects.get(f"k/{name}") == b"2" and list(objects.keys("k/")) == [f"k/{name}"]


@bad
def test_objects_refuse_a_bad_key(objects: Objects, tmp_path: Path, name: str) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "x").write_text("beside the store")
    before = tree(tmp_path)
    calls: list[Callable[[], object]] = [
        lambda: objects.get(name),
        lambda: objects.delete(name),
        lambda: objects.put(name, b"1", once=True),
        lambda: objects.put(name, b"1", once=False),
    ]
    for call in calls:
        with pytest.raises(InputError, match="bad name in the store"):
            call()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("prefix", ["../", "a/../../", "/etc/", "/"])
def test_objects_list_nothing_outside(objects: Objects, prefix: str) -> None:
    with pytest.raises(InputError, match="bad name in the store"):
        list(objects.keys(prefix))


def test_listed_names_that_no_job_gives_are_left_out(server: str, tmp_path: Path) -> None:
    s3 = client(server)
    for key in ("listed/k/", "listed/k/good", "listed/k/a/../b", "listed/k//c", "listed/k/a\\b"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"")
    assert list(S3Objects("bucket", "listed", s3).keys("k/")) == ["k/good"]
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "a\\b").write_text("")
    (tmp_path / "k" / "good").write_text("")
    assert list(FolderObjects(tmp_path).keys("k/")) == ["k/good"]


def test_a_console_s_folder_is_no_note_of_a_run(server: str) -> None:
    s3 = client(server)
    s3.put_object(Bucket="bucket", Key="console/runs/r/", Body=b"")
    store = ArtifactStore(S3Objects("bucket", "console", s3))
    store.note_run("r", "plan", "study", {"exit_code": 0})
    assert store.run_notes("r") == [{"exit_code": 0}]


@pytest.mark.parametrize("target", ["outside", "nowhere", "itself"])
def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path, target: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "store"
    outside.mkdir()
    (outside / "x").write_text("secret")
    root.mkdir()
    (root / "folder").symlink_to({"outside": outside, "nowhere": tmp_path / "none", "itself": root / "folder"}[target])
    objects = FolderObjects(root)
    for call in (
        lambda: objects.get("folder/x"),
        lambda: objects.put("folder/x", b"1", once=False),
        lambda: objects.delete("folder/x"),
        lambda: write_below(root, {"folder/x": b"1"}),
    ):
        with pytest.raises(InputError, match=r"a symbolic link leads out of the folder, .*: folder/x"):
            call()
    assert (outside / "x").read_text() == "secret" and [path.name for path in outside.iterdir()] == ["x"]


def test_a_root_that_is_itself_a_link_is_the_user_s_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = open_store(str(tmp_path / "store"))
    assert store.get(store.put(b"x")) == b"x"


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bad name in the store.*\.\./x"):
        write_below(tmp_path / "out", {"a": b"1", "../x": b"2"})
    with pytest.raises(InputError, match=r"a name leads through a file, .*: a/b"):
        write_below(tmp_path / "out", {"a": b"1", "a/b": b"2"})
    assert not (tmp_path / "out").exists()


def test_what_the_disk_has_no_place_for_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    (tmp_path / "b").mkdir()
    for name in ("a/x", "b"):
        with pytest.raises(InputError, match=rf"no file can have this name, .*: {name}"):
            write_below(tmp_path, {name: b"1"})


@pytest.mark.parametrize("uri", ["s3://user:canary@bucket/x", "s3://canary@bucket", "file://u:canary@host/x"])
def test_credentials_in_an_address_are_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(SpecError, match="credentials in the address, --store; allowed: s3://bucket/prefix") as caught:
        open_store(uri)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3://bucket/../x", "s3://bucket/a//b", "s3://bucket/a/./b"])
def test_a_prefix_is_a_name_too(uri: str) -> None:
    with pytest.raises(SpecError, match="not a store, --store"):
        open_store(uri)
