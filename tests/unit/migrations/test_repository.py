"""What is read of a Git repository: the files of one folder at one commit, and nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich import porcelain

from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.migrations.files import LARGEST, bundle
from paybill.migrations.repository import Repository, read
from tests.gitserver import LOGIN, WHO, GitServer, serving

FIRST = "CREATE TABLE customers (id int)"


@pytest.fixture
def git(tmp_path: Path) -> Iterator[GitServer]:
    with serving(tmp_path / "repository") as server:
        server.commit(db__0001_customers_sql=FIRST, other_sql="SELECT 1")
        yield server


def of(git: GitServer, **changes: str) -> Repository:
    return Repository(**{"url": git.url, "ref": "master", "path": "db", **changes})


def refused(git: GitServer, **changes: str) -> Failure:
    with pytest.raises((Blocked, Invalid, Retry)) as failure:
        read(of(git, **changes))
    return failure.value


def test_the_files_of_the_folder_at_the_branch_as_it_is_now(git: GitServer) -> None:
    first = read(of(git))
    assert first.texts == {"0001_customers.sql": FIRST}

    commit = git.commit(db__0002_seed_sql="INSERT INTO customers VALUES (1)")

    second = read(of(git), first)
    assert second.commit == commit != first.commit
    assert sorted(second.texts) == ["0001_customers.sql", "0002_seed.sql"]
    assert read(of(git, path="")).texts == {"other.sql": "SELECT 1"}


def test_the_same_commit_costs_one_request(git: GitServer) -> None:
    known = read(of(git))
    git.asked = 0
    assert read(of(git), known) is known
    assert git.asked == 1


def test_a_tag_stays_where_it_is(git: GitServer) -> None:
    porcelain.tag_create(git.repo, b"v1", author=WHO, message=b"one", annotated=True)
    git.commit(db__0002_seed_sql="SELECT 2")
    assert sorted(read(of(git, ref="v1")).texts) == ["0001_customers.sql"]


def test_links_lead_nowhere_and_a_large_file_is_cut_where_it_is_refused(git: GitServer) -> None:
    git.link("0003_link.sql", "/etc/passwd")
    git.commit(**{"0004_large_sql": b"-" * (LARGEST + 100)})
    texts = read(of(git, path="")).texts
    assert sorted(texts) == ["0004_large.sql", "other.sql"]
    assert len(texts["0004_large.sql"]) == LARGEST + 1
    with pytest.raises(Invalid, match="larger than"):
        bundle({"0004_large.sql": texts["0004_large.sql"]})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ref": "nowhere"}, "neither a branch nor a tag nowhere"),
        ({"path": "nowhere"}, "has no folder nowhere"),
        ({"path": "other.sql"}, "has no folder other.sql"),
        ({"path": "other.sql/below"}, "has no folder other.sql/below"),
    ],
)
def test_what_is_not_there_is_named(changes: dict[str, str], says: str, git: GitServer) -> None:
    failure = refused(git, **changes)
    assert failure.reason == "MigrationsUnreadable"
    assert says in failure.message


def test_another_path_is_no_repository(git: GitServer) -> None:
    failure = refused(git, url=git.url.replace("app.git", "none.git"))
    assert failure.reason in {"MigrationsUnreadable", "GitUnavailable"}


def test_what_is_no_text_is_refused(git: GitServer) -> None:
    git.commit(db__0002_odd_sql=b"\xff\xfe")
    assert "0002_odd.sql" in refused(git).message


def test_a_login_is_asked_for_and_never_told(git: GitServer) -> None:
    git.wants = LOGIN
    for login in ({}, {"username": "reader", "password": "wrong"}):
        failure = refused(git, **login)
        assert failure.reason == "GitRefused"
        assert "wrong" not in failure.message
    assert read(of(git, username=LOGIN[0], password=LOGIN[1])).texts == {"0001_customers.sql": FIRST}
    assert "a token" not in repr(of(git, password="a token"))


def test_a_server_that_is_away_is_tried_again(git: GitServer) -> None:
    git.serves = False
    assert refused(git).reason == "GitUnavailable"
    assert refused(git, url="http://127.0.0.1:9/app.git").reason == "GitUnavailable"
