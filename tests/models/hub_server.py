"""A server on this machine that answers as the hub does, for one encoder."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "e2da8e2f811d1448a5b465c236feacd80ffbac7b"
NAME = "FacebookAI/roberta-base"


class Hub(ThreadingHTTPServer):
    """As much of the hub's protocol as a download takes, over the files of a folder."""

    def __init__(self, files: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Answers(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                asked.append(self.path)
                if self.path.startswith(f"/api/models/{NAME}"):
                    siblings = [{"rfilename": file.name} for file in files.iterdir()]
                    content = json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode()
                elif self.path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
                    content = (files / Path(self.path).name).read_bytes()
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{len(content):040x}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, *words: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Answers)
