#!/usr/bin/env python3
"""A day of the knowledge base of a Leadmetrics dashboard, played against Cairn: python3 dashboard.py http://127.0.0.1:7700 cairn_…

Needs a key with the scopes kb:read, kb:write and kb:search (or admin). Every step prints a line; the first answer that is not as expected ends the script with 1.
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid

BASE, KEY = sys.argv[1].rstrip("/"), sys.argv[2]
RUN = uuid.uuid4().hex[:8]
KB = "/dashboard/v1/knowledge-base"


def call(method, path, body=None, content_type="application/json", expect=range(200, 300)):
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": content_type}
    request = urllib.request.Request(f"{BASE}{path}", data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    if status not in expect:
        sys.exit(f"{method} {path} answered {status}: {text.decode()}")
    return json.loads(text) if text else {}


def step(what, right=True):
    print(("ok    " if right else "WRONG ") + what)
    if not right:
        sys.exit(1)


def part(name, value, file_name=None):
    head = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name else "")
    return f"--{RUN}\r\n{head}\r\n\r\n{value}\r\n"


dataset = call("POST", "/kb/v1/datasets", {"name": f"papers {RUN}"})["id"]
step("a dataset is there", dataset in [d["id"] for d in call("GET", f"{KB}/datasets")["data"]])
text = "# Tides\n\nTides lag behind the moon because water has inertia and coasts are in the way."
body = part("files", text, "tides.md") + part("metadata", '{"year": 2026}') + f"--{RUN}--\r\n"
call("POST", f"{KB}/datasets/{dataset}/files/upload", body.encode(), f"multipart/form-data; boundary={RUN}")
deadline = time.time() + 120
while True:
    shown = call("GET", f"{KB}/datasets/{dataset}")
    files = shown["files"]
    if (files and files[0]["status"] in ("indexed", "error")) or time.time() > deadline:
        break
    time.sleep(0.5)
step(f"the upload is indexed: {files[0]['fileName']}", files[0]["status"] == "indexed")
file = files[0]["id"]

ask = {"query": "why do tides lag behind the moon", "datasetIds": [dataset]}
hits = call("POST", f"{KB}/search", ask)["results"]
step("a search finds it", bool(hits) and "inertia" in hits[0]["content"])
call("PATCH", f"{KB}/datasets/{dataset}/files/{file}", {"enabled": False})
step("what is disabled is hidden at the next search", call("POST", f"{KB}/search", ask)["results"] == [])
call("PATCH", f"{KB}/datasets/{dataset}/files/{file}", {"enabled": True})
while not call("POST", f"{KB}/search", ask)["results"] and time.time() < deadline:
    time.sleep(0.5)
step("and back again", bool(call("POST", f"{KB}/search", ask)["results"]))
changed = call("PATCH", f"{KB}/datasets/{dataset}/config", {"chunkSize": 256, "chunkOverlap": 32})
step("settings are changed", changed["chunkSize"] == 256)
reindexed = call("POST", f"{KB}/datasets/{dataset}/re-index")
step(f"and the dataset is indexed again: {json.dumps(reindexed)}")
unranked = call("POST", f"{KB}/search", {**ask, "rerank": True})
step("without a reranker the answer says so", unranked.get("rerank") == "notConfigured" or bool(unranked["results"]))
call("DELETE", f"{KB}/datasets/{dataset}/files/{file}")
step("a file that is deleted is gone at the next search", call("POST", f"{KB}/search", ask)["results"] == [])
call("DELETE", f"/kb/v1/datasets/{dataset}")
step("the dataset is removed", call("POST", f"{KB}/search", ask, expect=[404]) is not None)
