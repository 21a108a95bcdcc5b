"""A server on this machine that speaks the part of the Hugging Face Hub's HTTP API that publishing a model takes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_secretsecretsecret"


@dataclass
class Hub:
    """What the server stores: of each repository, the files of each commit, oldest first."""

    url: str = ""
    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    large: dict[str, bytes] = field(default_factory=dict)
    """Contents of large files by their sha256."""
    downloaded: list[str] = field(default_factory=list)
    altered: dict[str, bytes] = field(default_factory=dict)
    """What is sent in the place of a file's content, by its path."""

    def files(self, repo: str) -> dict[str, bytes]:
        return list(self.repos[repo].values())[-1]

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        commits = self.repos.setdefault(repo, {})
        oid = hashlib.sha1(f"{repo} {len(commits)}".encode()).hexdigest()
        commits[oid] = files
        return oid


@contextlib.contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".mp4", ".zip", ".pkl"))


def _described(path: str, content: bytes) -> dict[str, Any]:
    about = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    digest = hashlib.sha256(content).hexdigest()  # called oid in trees, sha256 in the description of a model
    large = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 134}
    return about | ({"lfs": large} if _is_large(path) else {})


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            repo, rest = "/".join(parts[2:4]), parts[4:]
            commit = self.commit_of(repo, rest[1] if len(rest) > 1 else "main")
            if commit is None:
                return
            files = self.hub.repos[repo].get(commit, {})
            if rest[:1] == ["tree"]:
                self.answer([_described(*item) for item in files.items()])
            else:
                siblings = [
                    {**_described(path, content), "rfilename": path, "blobId": "0" * 40}
                    for path, content in files.items()
                ]
                self.answer({"id": repo, "sha": commit, "siblings": siblings, "private": False, "tags": []})
        elif parts[2:3] != ["resolve"]:  # what the client asks beside
            self.answer({"error": "Not found"}, status=404)
        else:  # OWNER/NAME/resolve/REVISION/FILE
            repo, path = "/".join(parts[:2]), "/".join(parts[4:])
            if (commit := self.commit_of(repo, parts[3])) is not None:
                content = self.hub.altered.get(path, self.hub.repos[repo][commit][path])
                self.hub.downloaded.append(path)
                digest = hashlib.sha256(content).hexdigest()
                self.answer(content, headers={"ETag": f'"{digest}"', "X-Repo-Commit": commit})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "validate-yaml"]:
            self.answer({"errors": [], "warnings": []})
        elif parts[-1] == "create" or parts[-1] == "batch" or parts[4:5] in (["preupload"], ["commit"]):
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer({"error": "Invalid username or password."}, status=401)
            else:
                self.write(parts, body)
        elif parts[4] == "paths-info":
            repo = "/".join(parts[2:4])
            if (commit := self.commit_of(repo, parts[5])) is not None:
                files = self.hub.repos[repo][commit]
                asked = parse_qs(body.decode())["paths"]
                self.answer([_described(path, files[path]) for path in asked if path in files])

    def write(self, parts: list[str], body: bytes) -> None:
        repo = "/".join(parts[2:4])
        if parts[-1] == "create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            if "private" in (asked.get("visibility"), asked.get("private") and "private"):
                self.hub.private.add(repo)
            if repo not in self.hub.repos:
                self.hub.commit(repo, {".gitattributes": b""})
            self.answer({"url": f"{self.hub.url}/{repo}", "id": repo, "name": repo})
        elif parts[-1] == "batch":
            self.answer(
                {
                    "transfer": "basic",
                    "objects": [
                        {**item, "actions": {"upload": {"href": f"{self.hub.url}/large/{item['oid']}"}}}
                        for item in json.loads(body)["objects"]
                    ],
                }
            )
        elif parts[4] == "preupload":
            modes = {True: "lfs", False: "regular"}
            paths = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": path, "uploadMode": modes[_is_large(path)], "shouldIgnore": False} for path in paths]
            self.answer({"files": files})
        else:
            files = dict(self.hub.files(repo))
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.hub.large[value["oid"]]
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
            oid = self.hub.commit(repo, files)
            self.answer({"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.large[self.path.rpartition("/")[2]] = content
        self.answer(b"")

    def commit_of(self, repo: str, revision: str) -> str | None:
        """The commit of a revision, or None after a refusal was sent."""
        commits = self.hub.repos.get(repo)
        if commits is None:
            self.answer({"error": "Repository not found"}, status=404, headers={"X-Error-Code": "RepoNotFound"})
            return None
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            self.answer({"error": "Invalid rev id"}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
            return None
        return commit

    def answer(self, content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)
