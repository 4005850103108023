#!/usr/bin/env python3
"""A day of a SmartSaaS agent, played against Cairn: python3 smartsaas.py http://127.0.0.1:7700 cairn_…

Needs a key with the scopes company:*, organiser:* and kb:read (or admin). Every step prints a line; the first answer that is not as expected ends the script
with 1.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

BASE, KEY = sys.argv[1].rstrip("/"), sys.argv[2]
RUN = uuid.uuid4().hex[:8]


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{BASE}{path}", data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path} answered {error.code}: {error.read().decode()}")


def protected(method, path, body=None):
    return call(method, f"/api/protected{path}", body)


def step(what, right=True):
    print(("ok    " if right else "WRONG ") + what)
    if not right:
        sys.exit(1)


title = f"harbour_fees_{RUN}"
made = protected("POST", "/data/folders", {"dataTitle": title, "dataSchema": {"fields": [{"name": "city", "type": "string"}, {"name": "fee", "type": "price"}]}, "dataTags": ["fees"]})
folder = made["_id"]
step("a dataset is created, and found by its title", any(f["dataTitle"] == title and f["_id"] == folder for f in protected("GET", "/data/folders?limit=100")["data"]))
protected("POST", f"/data/folders/{folder}/items", {"city": "Skagen", "fee": 120})
protected("POST", f"/data/folders/{urllib.parse.quote(title)}/items", {"data": {"city": "Esbjerg", "fee": 95}})
content = protected("GET", f"/data/folders/{folder}/content")["data"]
step("rows are added by id and by title", [row["data"]["city"] for row in content["items"]] == ["Skagen", "Esbjerg"])
step("its schema is shown as it was sent", protected("GET", f"/data/folders/{folder}/schema")["data"]["fields"][1] == {"name": "fee", "type": "price"})

project = protected("POST", "/projects", {"name": f"New pier {RUN}", "description": "Stones and piles."})["_id"]
package = protected("POST", f"/projects/{project}/work-packages", {"name": "Foundations"})["_id"]
task = protected("POST", f"/projects/{project}/work-packages/{package}/tasks", {"title": "Count the stones"})["_id"]
assigned = protected("PATCH", f"/projects/{project}/tasks/{task}", {"assigned_to": "ada"})["data"]
step("a task of a project is assigned", assigned["assigned_to"] == "ada")
team = protected("POST", f"/projects/{project}/team", {"userId": "ada", "role": "lead"})["data"]["teamMembers"]
step("somebody joins the team", team == [{"userId": "ada", "role": "lead"}])
detail = protected("GET", f"/projects/{project}/detail")["data"]
step("the project shows all of it", detail["workPackages"][0]["tasks"][0]["_id"] == task)

word = f"sandbar{RUN}"
finding = protected("POST", "/research", {"title": f"Tides {RUN}", "findings": f"The {word} moves two metres a year.", "summary": "It moves.", "source": "survey", "url": "https://example.com/survey"})["_id"]
article = protected("POST", "/knowledge", {"title": f"Pilotage {RUN}", "content": "Ships over 40 metres take a pilot."})["_id"]
step("research and articles are read by id", all(protected("GET", f"/knowledge/{one}")["data"]["_id"] == one for one in (finding, article)))
deadline = time.time() + 60
while True:
    datasets = [d["id"] for d in call("GET", "/kb/v1/datasets?limit=500")["data"]] if time.time() < deadline else []
    knowledge = [one for one in datasets if one.startswith("knowledge~")]
    hits = call("POST", "/kb/v1/search", {"query": word, "datasetIds": knowledge, "hybridAlpha": 0.0})["results"] if knowledge else []
    if hits or time.time() > deadline:
        break
    time.sleep(0.5)
step("a search finds what was researched", bool(hits) and hits[0]["documentMetadata"]["recordId"] == finding)

plan = protected("POST", "/business-plans", {"title": f"Ferry {RUN}", "description": "Two boats."})["_id"]
step("a business plan is read by id", protected("GET", f"/business-plans/{plan}")["data"]["title"] == f"Ferry {RUN}")
step("and removed", protected("DELETE", f"/business-plans/{plan}")["data"]["deleted"] is True)

campaign = protected("POST", "/sales/create-campaign", {"campaign": {"campaign_title": f"Spring {RUN}", "stages": ["new", "talking", "won"]}})["_id"]
lead = call("POST", "/api/sales/create-lead", {"name": "Ada", "email": "ada@example.com", "campaignId": campaign})["_id"]
moved = call("POST", "/api/sales/funnel/move-lead", {"leadId": lead, "fromStageId": "new", "toStageId": "talking"})["data"]
step("a lead moves through the funnel of its campaign", moved["stage"] == "talking")
funnel = protected("GET", f"/sales/funnel?campaignId={campaign}")["data"][0]
step("the funnel counts it", [stage["leads"] for stage in funnel["stages"]] == [0, 1, 0])
protected("POST", "/sales/forecasts", {"title": f"Second quarter {RUN}", "amount": 12000})
template = protected("POST", "/templates/documents", {"title": f"Offer {RUN}", "content": "<p>Dear {{{name}}}</p>"})["_id"]
step("a template is stored under the plural, too", template in [t["_id"] for t in protected("GET", "/templates/document?limit=100")["data"]])

protected("POST", "/openclaw/webhook", {"event": "ping", "source": "openclaw", "timestamp": "2026-01-01T00:00:00Z"})
protected("POST", "/openclaw/webhook", {"message": "The stones are counted.", "taskId": f"count-{RUN}", "status": "done", "summary": "312 stones"})
step("messages, events and the progress of a task are pushed")
step("the people of the company are listed", len(protected("GET", "/users?page=1&pageSize=10")["data"]) >= 1)
