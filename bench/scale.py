"""Measures of entrepot against itself: much stored against little, and how soon it answers."""

from __future__ import annotations

import shutil
from itertools import count

from bench.content import KIB, MIB
from bench.goals import at_least, below, no_goal, share_of
from bench.load import Load, timed_load, wrk
from bench.measure import RATE, SECONDS, Measure, Prepare, Run
from bench.reads import CLIENTS, blob_of, get_blob, get_manifest, head_blob, head_manifest, image
from bench.seed import TAGS_REPOSITORY, repository_name, tag_name
from bench.servers import Server
from bench.site import DEFAULT, ENTREPOT, FULL, NGINX, REPOSITORY, SPARSE, Site, store_image

PAGE = 100
MANIFEST_PATTERN = f"/v2/scale/r%06d/manifests/{tag_name(0)}"

_serial = count()


def get_tags_page(site: Site, name: str) -> Load:
    """A page out of the middle."""
    last = tag_name(site.seeds(name).tags // 2 - 1)
    return _get(site, name, f"/v2/{TAGS_REPOSITORY}/tags/list?n={PAGE}&last={last}")


def get_catalog_page(site: Site, name: str) -> Load:
    """A page out of the middle."""
    last = repository_name(site.seeds(name).repositories // 2 - 1)
    return _get(site, name, f"/v2/_catalog?n={PAGE}&last={last}")


def get_any_manifest(site: Site, name: str) -> Load:
    """By tag out of all repositories at random, so that caches are of little use."""
    return wrk(
        site.server(name).url("/"),
        connections=CLIENTS,
        seconds=site.settings.seconds,
        script="anywhere.lua",
        arguments=(MANIFEST_PATTERN, str(site.seeds(name).repositories)),
    )


def start_fresh(site: Site, name: str) -> Load:
    """On a folder that does not exist yet."""
    server = site.new_server(name, f"start-{next(_serial)}")
    try:
        return _start(server)
    finally:
        shutil.rmtree(server.root, ignore_errors=True)


def start_again(site: Site, name: str) -> Load:
    """On a folder that holds an image."""
    return _start(site.new_server(name, _existing(name)))


def nothing(_site: Site, _name: str) -> None:
    """The start itself is what is measured."""


def make_existing(site: Site, name: str) -> None:
    server = site.new_server(name, _existing(name))
    server.start()
    store_image(server, REPOSITORY, site.image)
    server.stop()


def _existing(name: str) -> str:
    return f"existing-{name.replace(' ', '-')}"


def _start(server: Server) -> Load:
    taken = server.start()
    server.stop()
    return timed_load([taken], seconds=taken)


def _get(site: Site, name: str, path: str) -> Load:
    return wrk(site.server(name).url(path), connections=CLIENTS, seconds=site.settings.seconds)


def _page(name: str, title: str, run: Run) -> Measure:
    return Measure(
        name=name,
        title=title,
        unit=RATE,
        contenders=(FULL, SPARSE),
        run=run,
        goal=at_least(2000, "req/s") & share_of(SPARSE, 0.9),
        subject=FULL,
    )


def _same_when_full(name: str, title: str, prepare: Prepare, run: Run) -> Measure:
    return Measure(
        name=f"full-{name}",
        title=f"{title}, much stored",
        unit=RATE,
        contenders=(FULL, SPARSE),
        run=run,
        prepare=prepare,
        goal=share_of(SPARSE, 0.9),
        subject=FULL,
    )


def _start_measure(name: str, title: str, run: Run, prepare: Prepare) -> Measure:
    return Measure(
        name=name,
        title=title,
        unit=SECONDS,
        contenders=(ENTREPOT, DEFAULT, NGINX),
        run=run,
        prepare=prepare,
        goal=below(1, "s"),
        observed=False,
    )


SCALE = [
    _page("tags-page", "tags page of 100, c32, much stored", get_tags_page),
    _page("catalog-page", "catalog page of 100, c32, much stored", get_catalog_page),
    _same_when_full("get-manifest", "GET manifest by tag, c32", image, get_manifest),
    _same_when_full("head-manifest", "HEAD manifest by tag, c32", image, head_manifest),
    _same_when_full("head-blob", "HEAD blob, c32", blob_of(MIB), head_blob),
    _same_when_full("get-blob-1k", "GET 1 KiB blob, c32", blob_of(KIB), get_blob(KIB, connections=CLIENTS)),
    Measure(
        name="full-any-manifest",
        title="GET any manifest by tag, c32, much stored",
        unit=RATE,
        contenders=(FULL, SPARSE),
        run=get_any_manifest,
        goal=no_goal(),
        subject=FULL,
    ),
    _start_measure("start-fresh", "start to first 200, fresh folder", start_fresh, nothing),
    _start_measure("start-again", "start to first 200, existing folder", start_again, make_existing),
]
