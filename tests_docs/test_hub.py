"""Presets from the Hugging Face Hub, by huggingface_hub itself. A server on this machine stands in for the Hub."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse

import pytest

from helpers.checks import ROOT
from lipgan_keras import LipSync, checkpoints
from lipgan_keras.checkpoints import presets

pytest.importorskip("huggingface_hub")
COMMIT = "c" * 40
SCRIPT = """
import sys
from lipgan_keras.checkpoints import hub
from lipgan_keras.utils.errors import UserError
try:
    print(hub.download(sys.argv[1]))
except UserError as error:
    print("refused:", error)
"""


@pytest.fixture
def endpoint(tmp_path):
    """A server with the repository some/one, a preset beside code; (environment, what was asked for, server)."""
    folder, asked = tmp_path / "repository", []
    LipSync().save_to_preset(folder)
    (folder / "code.py").write_text("raise SystemExit('this ran')")
    data = {path.name: path.read_bytes() for path in folder.iterdir()}
    digests = {name: hashlib.sha1(one).hexdigest() for name, one in data.items()}
    siblings = [{"rfilename": name, "size": len(one)} for name, one in data.items()]
    about = {"id": "some/one", "sha": COMMIT, "siblings": siblings}
    tree = [{"type": "file", "path": name, "size": len(one), "oid": digests[name]} for name, one in data.items()]

    def answer(path):
        """Status, header and body."""
        if path.startswith("/api/models/gated/"):
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        if path.startswith("/api/models/some/one/tree/"):
            return 200, {}, json.dumps(tree).encode()
        if path.removeprefix("/api/models/some/one") in ("", "/revision/main", f"/revision/{COMMIT}"):
            return 200, {}, json.dumps(about).encode()
        if path.startswith("/api/models/some/one/"):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        name = path.rsplit("/", 1)[-1]
        if path.startswith("/some/one/resolve/") and name in data:
            return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{digests[name]}"'}, data[name]
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - as it is called there
            path = urllib.parse.urlparse(self.path).path
            asked.append(path)
            status, headers, body = answer(path)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield (
            {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "cache")},
            asked,
            server,
        )
        server.shutdown()


def download(name, environment):
    settings = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name], env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_repository_is_downloaded_kept_and_used(endpoint):
    environment, asked, server = endpoint
    folder = download("hf://some/one", environment)
    assert sorted(os.listdir(folder)) == sorted(presets.FILES)
    assert all("/some/one" in path and "code.py" not in path for path in asked), asked
    assert LipSync.from_preset(folder).config.decoder == checkpoints.read_config(checkpoints.SHIPPED).decoder
    checkpoints.load_generator(folder)
    asked.clear()
    assert download(f"hf://some/one@{COMMIT}", environment) == folder and not asked
    for name, words in (("some/one@other", "no such revision"), ("a/b", "no such repository"), ("gated/a", "is gated")):
        assert words in download(f"hf://{name}", environment)
    server.shutdown()
    server.server_close()  # no network
    assert download("hf://some/one", environment) == download("hf://some/one@main", environment) == folder
    assert "cannot be downloaded" in download("hf://a/b", environment)
