"""A Hub on this machine: the parts of its interface that its client uses, with real commits.

Files of more than `LARGE_BYTES` are stored as large files are (LFS): they are uploaded to an
address that the server gives, and downloaded by a redirect.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE_BYTES = 100_000
TOKEN = "hf_of_the_owner"
Answer = Callable[[BaseHTTPRequestHandler], None]


def blob_sha1(content: bytes) -> str:
    """Git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """Branches are names of commits; a commit is the files that it holds.

    Attributes:
        private: only the owner's token reads it.
        commits: files of each commit, by its hash.
        branches: the newest commit of each.
        listed: what the listing says instead of the truth, by the file's name.
    """

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """Make these files the newest commit of a branch; gives its hash."""
        text = f"{len(self.commits)} {branch} " + json.dumps(
            {name: blob_sha1(content) for name, content in sorted(files.items())}
        )
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def find(self, revision: str) -> str | None:
        """The commit that a revision names."""
        return self.branches.get(revision, revision if revision in self.commits else None)


@dataclass
class HubServer:
    """What is served, and what was asked for.

    Attributes:
        url: its address.
        repositories: by "OWNER/NAME".
        asked: method and path of each request, in order.
        messages: of the commits that were uploaded.
        instead: answers by path that come instead of the Hub's own.
        large: contents of large files by their SHA-256.
    """

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    instead: dict[str, Answer] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)

    def publish(self, name: str, files: dict[str, bytes], *, private: bool = False) -> str:
        """A repository whose main branch holds these files; gives the commit."""
        found = self.repositories.setdefault(name, Repository(private))
        for content in files.values():
            if len(content) > LARGE_BYTES:
                self.large[hashlib.sha256(content).hexdigest()] = content
        return found.commit("main", files)


def listing(name: str, content: bytes) -> dict[str, Any]:
    """What the Hub says of a file."""
    found: dict[str, Any] = {"rfilename": name, "size": len(content)}
    found["blobId"] = blob_sha1(content)
    if len(content) > LARGE_BYTES:
        digest = hashlib.sha256(content).hexdigest()
        found["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 130}
        found["blobId"] = blob_sha1(digest.encode())
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if path in self.hub.instead:
            self.hub.instead[path](self)
            return
        parts = path.strip("/").split("/")
        if parts[0] == "large":
            self._large(parts[1])
        elif parts[:2] == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
        elif parts[:3] == ["api", "repos", "create"]:
            self._create()
        elif parts[:2] == ["api", "models"]:
            self._models("/".join(parts[2:4]), parts[4:])
        elif "resolve" in parts:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif parts[-2:] == ["objects", "batch"]:
            self._batch()
        else:
            self._json({"error": "Not Found"}, status=404)

    def _is_owner(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _found(self, name: str) -> Repository | None:
        """The repository; where it is not to be seen, the answer has been given."""
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self._is_owner()):
            status = 404 if self._is_owner() else 401
            self._json({"error": "Repository not found"}, status=status, code="RepoNotFound")
            return None
        return found

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self._is_owner():
            self._json({"error": "Unauthorized"}, status=401)
            return
        status = 409 if name in self.hub.repositories else 200
        private = asked.get("visibility") == "private" or asked.get("private") is True
        if status == 200:
            made = self.hub.repositories[name] = Repository(private)
            made.commit("main", {".gitattributes": b"*.safetensors filter=lfs"})
        self._json({"url": f"{self.hub.url}/{name}", "name": name, "id": "1"}, status=status)

    def _models(self, name: str, rest: list[str]) -> None:
        found = self._found(name)
        if found is None:
            return
        verb, value = (rest[0], "/".join(rest[1:])) if rest else ("revision", "main")
        if verb in ("preupload", "commit", "branch") and not self._is_owner():
            self._json({"error": "Forbidden"}, status=403)
        elif verb == "revision":
            self._info(name, found, value)
        elif verb == "preupload":
            self._preupload(found, value)
        elif verb == "branch":
            self._branch(found, value)
        elif verb == "commit":
            self._commit(name, found, value)
        else:
            self._json({"error": "Not Found"}, status=404)

    def _info(self, name: str, found: Repository, revision: str) -> None:
        commit = found.find(revision)
        if commit is None and not (revision == "main" and not found.commits):
            self._json({"error": "Invalid rev id"}, status=404, code="RevisionNotFound")
            return
        files = found.commits.get(commit or "", {})
        siblings = [
            listing(one, content) | found.listed.get(one, {}) for one, content in files.items()
        ]
        siblings += [
            {"rfilename": one, "size": 3, "blobId": "0" * 40, **said}
            for one, said in found.listed.items()
            if one not in files
        ]
        info = {"_id": "1", "id": name, "modelId": name, "private": found.private, "tags": []}
        self._json(info | {"sha": commit, "siblings": siblings})

    def _preupload(self, found: Repository, branch: str) -> None:
        files = found.commits.get(found.branches.get(branch, ""), {})
        answers = []
        for file in json.loads(self.body)["files"]:
            large = file["size"] > LARGE_BYTES
            before = files.get(file["path"])
            oid = None
            if before is not None:
                oid = hashlib.sha256(before).hexdigest() if large else blob_sha1(before)
            answer = {"path": file["path"], "uploadMode": "lfs" if large else "regular"}
            answers.append(answer | {"shouldIgnore": False, "oid": oid})
        self._json({"files": answers})

    def _branch(self, found: Repository, branch: str) -> None:
        if branch in found.branches:
            self._json({"error": "exists"}, status=409)
            return
        start = found.branches.get("main")
        if start is not None:
            found.branches[branch] = start
        self._json({})

    def _commit(self, name: str, found: Repository, branch: str) -> None:
        files = dict(found.commits.get(found.branches.get(branch, ""), {}))
        for line in self.body.decode().splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        commit = found.commit(branch, files)
        url = f"{self.hub.url}/{name}/commit/{commit}"
        self._json({"commitUrl": url, "commitOid": commit, "success": True})

    def _batch(self) -> None:
        asked = json.loads(self.body)["objects"]
        objects = []
        for one in asked:
            answer: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.large:
                answer["actions"] = {"upload": {"href": f"{self.hub.url}/large/{one['oid']}"}}
            objects.append(answer)
        self._json({"objects": objects, "transfer": "basic"})

    def _large(self, digest: str) -> None:
        if self.command == "PUT":
            assert hashlib.sha256(self.body).hexdigest() == digest
            self.hub.large[digest] = self.body
            self._send(b"")
            return
        self._send(self.hub.large[digest])

    def _resolve(self, name: str, revision: str, file: str) -> None:
        found = self._found(name)
        if found is None:
            return
        commit = found.find(revision)
        content = found.commits.get(commit or "", {}).get(file)
        if commit is None or content is None:
            self._json({"error": "Entry not found"}, status=404, code="EntryNotFound")
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{blob_sha1(content)}"'}
        if len(content) > LARGE_BYTES:
            digest = hashlib.sha256(content).hexdigest()
            headers |= {"Location": f"/large/{digest}", "X-Linked-Etag": f'"{digest}"'}
            headers["X-Linked-Size"] = str(len(content))
            self._send(b"", status=302, headers=headers)
            return
        self._send(content, headers=headers)

    def _json(self, value: Any, *, status: int = 200, code: str = "") -> None:
        headers = {"Content-Type": "application/json"} | ({"X-Error-Code": code} if code else {})
        self._send(json.dumps(value).encode(), status=status, headers=headers)

    def _send(
        self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def hub_serving() -> Iterator[HubServer]:
    """Serve until the block ends."""
    handler = type("Handler", (_Handler,), {})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listening.daemon_threads = True
    server = HubServer(f"http://127.0.0.1:{listening.server_port}")
    handler.hub = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
