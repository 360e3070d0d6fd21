"""A registry of images, as much of it as a pull asks for (OCI distribution specification)."""

import gzip
import hashlib
import json

from aiohttp import web

OCI = "application/vnd.oci.image"


class Images:
    """One image of one layer, `box:1`, given to everybody; `secret:1` is given to nobody."""

    def __init__(self, layer: bytes) -> None:
        packed = gzip.compress(layer, compresslevel=1)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin", "FROM_IMAGE=yes"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        self._blobs = {_digest(blob): blob for blob in (packed, json.dumps(config).encode())}
        (first, second) = self._blobs.items()
        self._manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": _entry("config.v1+json", *second),
                "layers": [_entry("layer.v1.tar+gzip", *first)],
            }
        ).encode()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2/", self._hello)
        app.router.add_get("/v2/{name}/manifests/{reference}", self._give_manifest)
        app.router.add_get("/v2/{name}/blobs/{digest}", self._give_blob)
        return app

    async def _hello(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def _give_manifest(self, request: web.Request) -> web.Response:
        if request.match_info["name"] != "box":
            errors = {"errors": [{"code": "DENIED", "message": "access is denied"}]}
            return web.json_response(errors, status=403)
        headers = {"Docker-Content-Digest": _digest(self._manifest)}
        kind = f"{OCI}.manifest.v1+json"
        return web.Response(body=self._manifest, content_type=kind, headers=headers)

    async def _give_blob(self, request: web.Request) -> web.Response:
        return web.Response(body=self._blobs[request.match_info["digest"]])


def _entry(kind: str, digest: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": f"{OCI}.{kind}", "digest": digest, "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
