#!/usr/bin/env python3
"""A day of a Slab5 workspace, played against Cairn: python3 slab5.py http://127.0.0.1:7700 cairn_…

Needs a key with the scopes crm:*, support:*, tasks:*, activity:*, cms:*, assets:*, integrations:*, analytics:* and bi:* (or admin). Every step prints a line; the
first answer that is not as expected ends the script with 1.
"""

import hashlib
import json
import sys
import time
import urllib.error
import urllib.request
import uuid

BASE, KEY = sys.argv[1].rstrip("/"), sys.argv[2]
RUN = uuid.uuid4().hex[:8]


def send(method, url, body=None, headers=None):
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def call(method, path, body=None, expect=range(200, 300)):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    status, text = send(method, f"{BASE}/v1{path}", body, headers)
    answer = json.loads(text)
    if status not in expect:
        sys.exit(f"{method} {path} answered {status}: {json.dumps(answer)}")
    return answer


def step(what, right=True):
    print(("ok    " if right else "WRONG ") + what)
    if not right:
        sys.exit(1)


def until(what, check):
    deadline = time.time() + 60
    while time.time() < deadline:
        if check():
            return step(what)
        time.sleep(0.5)
    step(what, False)


workspace = call("GET", "/workspace")["data"]
step(f"the workspace {workspace['id']} has the modules {', '.join(workspace['enabled_modules'])}")

company = call("POST", "/companies", {"name": f"Northstar {RUN}", "domain": "northstar.example"})["data"]
once = {"name": "Jane Doe", "email": "jane@northstar.example", "company_id": company["id"], "idempotency_key": f"contact-{RUN}"}
contact = call("POST", "/contacts", once)["data"]
step("a contact that is sent twice is one", call("POST", "/contacts", once)["data"]["id"] == contact["id"])
conflict = call("POST", "/contacts", {**once, "name": "Joe"}, expect=[409])["error"]
step("its key with another body is a conflict", conflict["code"] == "idempotency_conflict")
found = call("GET", f"/contacts?query=northstar%20{RUN}")["data"]
step("the contact is found by the name of its company", [c["id"] for c in found] == [contact["id"]])

lead = call("POST", "/leads", {"name": "Priya Shah", "company_name": f"Studio {RUN}", "source": "website", "custom_fields": {"tier": "gold"}})["data"]
listed = call("GET", "/leads?status=new&source=website&custom_field_key=tier&custom_field_value=gold")["data"]
step("a lead is found by status, source and a custom field", lead["id"] in [one["id"] for one in listed])
converted = call("POST", f"/leads/{lead['id']}/convert", {"create_deal": True, "deal_name": f"Redesign {RUN}", "amount_cents": 500000})["data"]
step("the lead is converted, with a deal", converted["status"] == "converted" and "deal_id" in converted)
deal = call("PATCH", f"/deals/{converted['deal_id']}", {"stage": "won"})["data"]
step("the deal is won", deal["stage"] == "won")
invoice = call("POST", "/invoices", {"invoice_number": f"INV-{RUN}", "company_id": company["id"], "line_items": [{"name": "Redesign", "unit_amount_cents": 500000}]})["data"]
call("POST", "/payments", {"invoice_id": invoice["id"], "amount_cents": 200000})
call("POST", "/payments", {"invoice_id": invoice["id"], "amount_cents": 300000})
paid = call("GET", f"/invoices?status=paid&company_id={company['id']}")["data"]
step("two payments settle the invoice", [one["balance_cents"] for one in paid] == [0])

queue = call("POST", "/support/queues", {"key": f"priority-{RUN}", "name": "Priority", "first_response_target_minutes": 120})["data"]
ticket = call("POST", "/support/tickets", {"subject": "The invoice cannot be opened", "priority": "urgent", "contact_id": contact["id"], "queue_id": queue["id"]})["data"]
path = f"/support/tickets/{ticket['id']}"
call("POST", f"{path}/messages", {"direction": "inbound", "channel": "email", "body": "I cannot open the invoice."})
call("POST", f"{path}/messages", {"direction": "outbound", "channel": "email", "body": "Here it is again."})
call("POST", f"{path}/comments", {"body": "The export was broken.", "pinned": True})
closed = call("PATCH", path, {"status": "closed"})["data"]
step("a ticket is answered in time and closed", closed["first_response_late"] is False and closed["status"] == "closed")
task = call("POST", "/tasks", {"title": f"Call Jane {RUN}", "related_resource_type": "contact", "related_resource_id": contact["id"]})["data"]
done = call("PATCH", f"/tasks/{task['id']}", {"status": "completed", "completed_note": "She agrees."})["data"]
step("a task is completed", "completed_at" in done)
call("POST", "/activities", {"type": "call", "summary": f"Jane agrees {RUN}", "related_resource_type": "contact", "related_resource_id": contact["id"]})

collection = call("POST", "/cms/collections", {"name": "Posts", "key": f"posts-{RUN}", "schema": {"fields": [{"key": "body", "type": "string", "required": True}]}})["data"]
word = f"lantern{RUN}"
entry = call("POST", "/cms/entries", {"collection_id": collection["id"], "title": "Harbour lights", "fields": {"slug": RUN, "body": f"The {word} burns all night."}})["data"]
call("PATCH", f"/cms/entries/{entry['id']}", {"status": "published"})
until("the published entry is found by a word of its text", lambda: [e["id"] for e in call("GET", f"/cms/entries/search?query={word}")["data"]][:1] == [entry["id"]])

data = f"# Notes {RUN}\n\nThe boat leaves at noon.".encode()
asset = call("POST", "/assets", {"asset_type": "document", "file_name": "notes.md", "mime_type": "text/markdown"})["data"]
step("bytes are uploaded", send("PUT", asset["upload_url"], data)[0] == 200)
call("POST", f"/assets/{asset['id']}/complete", {"byte_size": len(data), "checksum_sha256": hashlib.sha256(data).hexdigest()})
address = call("GET", f"/assets/{asset['id']}")["data"]["download_url"]
step("and downloaded as they were", send("GET", address)[1] == data)

hook = call("POST", "/webhooks", {"name": f"ops {RUN}", "url": "https://example.com/hooks", "event_types": ["lead.created"], "max_attempts": 3})["data"]
step("an endpoint shows its secret once", hook["signing_secret"].startswith("whsec_"))
call("PATCH", f"/webhooks/{hook['id']}", {"status": "disabled"})

event = f"first_contact_{RUN}"
call("POST", "/analytics/properties", {"key": f"plan_{RUN}", "type": "string", "required": True})
call("POST", "/analytics/events", {"name": event, "description": "The first contact was added.", "properties": [f"plan_{RUN}"]})
valid = call("POST", "/analytics/events/validate", {"name": event, "properties": {f"plan_{RUN}": "pro"}})["data"]["valid"]
wrong = call("POST", "/analytics/events/validate", {"name": event, "properties": {}})["data"]["valid"]
step("an event is checked against its definition", valid is True and wrong is False)

dataset = call("POST", "/bi/datasets", {"name": f"Deals {RUN}", "kind": "table", "source": "deals"})["data"]
rows = call("POST", "/bi/queries/run", {"dataset_id": dataset["id"], "query": {"groupBy": ["stage"], "aggregates": [{"op": "count", "as": "deals"}]}})["data"]
step(f"deals are counted by stage: {json.dumps(rows.get('groups', rows))[:120]}")
export = call("POST", "/bi/exports", {"name": f"Deals {RUN}", "dataset_id": dataset["id"], "format": "csv"})["data"]
until("an export is written", lambda: next(e for e in call("GET", "/bi/exports?limit=100")["data"] if e["id"] == export["id"])["status"] == "completed")

message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "create_task", "arguments": {"title": f"From an agent {RUN}"}}}
headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
answer = json.loads(send("POST", f"{BASE}/mcp/slab5", message, headers)[1])
made = answer["result"]["structuredContent"]["data"]["id"]
step("a tool of the MCP server adds a task", made in [t["id"] for t in call("GET", "/tasks?status=open&limit=100")["data"]])
