#!/usr/bin/env python3
"""A day of a ClawCRM agent, played against Cairn: python3 clawcrm.py http://127.0.0.1:7700 cairn_…

Needs a key with the scopes crm:*, activity:* and integrations:* (or admin). Signs up for a workspace of its own first if the server accepts sign-ups from
here, and plays the day in both workspaces. Every step prints a line; the first answer that is not as expected ends the script with 1.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request
import uuid

BASE, KEY = sys.argv[1].rstrip("/"), sys.argv[2]
RUN = uuid.uuid4().hex[:8]


def request(method, path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    made = urllib.request.Request(f"{BASE}{path}", data=data, method=method, headers={"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(made, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def step(what, right=True):
    print(("ok    " if right else "WRONG ") + what)
    if not right:
        sys.exit(1)


class Agent:
    """An agent that obeys the contract's protocol: it reads warnings and next steps, and corrects a refused request by its hint once."""

    def __init__(self, key):
        self.headers = {"x-api-key": key}

    def call(self, method, path, body=None):
        status, answer = request(method, f"/api/openclaw{path}", body, self.headers)
        if status >= 400:
            sys.exit(f"{method} {path} answered {status}: {json.dumps(answer)}")
        if not isinstance(answer["warnings"], list) or not isinstance(answer["next_steps"], list):
            sys.exit(f"{method} {path} has no warnings or next steps")
        return answer

    def refused(self, method, path, body=None):
        status, answer = request(method, f"/api/openclaw{path}", body, self.headers)
        return status, answer["error"]["hint"]


def signed(secret, body):
    """Headers of a message as Standard Webhooks."""
    name, at = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{name}.{at}.{json.dumps(body)}".encode(), hashlib.sha256).digest()
    return {"webhook-id": name, "webhook-timestamp": at, "webhook-signature": "v1," + base64.b64encode(mac).decode()}


def day(agent):
    health = agent.call("GET", "/health")
    step("the session begins with health", health["status"] == "ok")
    for unread in health["unread_responses"]:
        agent.call("PATCH", f"/feedback/{unread['feedbackId']}", {"acknowledged": True})
    stages = [{"name": name, "order": order, "color": "#888", "isDefault": order == 0} for order, name in enumerate(["Prospects", "Engaged", "Meeting", "Closed Won"])]
    agent.call("POST", "/setup", {"projectSlug": "acme", "org": {"name": "Acme", "industry": "dental", "bookingLink": "https://calendly.com/acme"}, "stages": stages})
    agent.call("POST", "/setup", {"stages": stages})
    step("a setup is repeatable", [s["name"] for s in agent.call("GET", "/stages")["stages"]][:4] == [s["name"] for s in stages])
    agent.call("POST", "/automation/rules", {"name": f"Booked {RUN}", "triggerEvent": "meeting_booked", "targetStage": "Meeting", "priority": 1})

    status, hint = agent.refused("POST", "/leads", {"firstName": "Ada"})
    step("a refusal says how to correct the request", status == 400 and "email" in hint)
    lead = {"firstName": "Ada", "lastName": "Holm", "email": f"ada-{RUN}@berg-{RUN}.test", "clinicName": "Berg Dental", "tier": "high", "crmData": {"specialty": "implants"}}
    made = agent.call("POST", "/leads", lead)
    step("a lead is created, flat and nested", made["id"].startswith("rp_") and made["lead"]["id"] == made["id"] and made["enrichmentQueued"] is False)
    agent.call("PATCH", "/leads", {"id": made["id"], "crmData": {"location": "Skagen"}})
    listed = agent.call("GET", "/leads?status=new&tier=high&limit=50")["leads"]
    mine = [entry for entry in listed if entry["id"] == made["id"]]
    step("it is listed, with merged data", mine and mine[0]["crmData"] == {"specialty": "implants", "location": "Skagen"})
    enriched = agent.call("POST", "/enrich", {"leadId": made["id"]})
    step("enrichment ends as complete or failed, with a reason", enriched["status"] == "complete" or bool(enriched["reason"]))

    agent.call("POST", "/notes", {"leadId": made["id"], "type": "ai_insight", "content": "Wants implants before midsummer."})
    steps = [{"delayMinutes": 0, "subject": "Hello {{ firstName }}", "body": "A word about {{ organizationName }}."}, {"delayDays": 3, "subject": "Again", "body": "Did you see it?"}]
    campaign = agent.call("POST", "/campaigns", {"name": f"Hello {RUN}", "trigger": "manual", "steps": steps})["id"]
    agent.call("POST", f"/campaigns/{campaign}/enroll", {"leadId": made["id"]})
    status, _ = agent.refused("POST", f"/campaigns/{campaign}/enroll", {"leadId": made["id"]})
    step("a lead is enrolled once", status == 409)
    for _ in range(100):
        mails = agent.call("GET", f"/campaigns/{campaign}/emails")["emails"]
        if any(mail["status"] == "sent" for mail in mails):
            break
        time.sleep(0.2)
    step("the first mail is sent", any(m["status"] == "sent" and m["subject"] == "Hello Ada" for m in mails))

    source = agent.call("POST", "/stages/sync-sources", {"type": "generic_webhook", "name": f"Site {RUN}", "targetStage": "Engaged"})
    event = {"email": lead["email"], "event": "proposal_viewed"}
    status, answer = request("POST", source["source"]["path"], event, signed(source["secret"], event))
    step("the website reports a viewed proposal", status == 200 and answer["leadId"] == made["id"])
    booked = agent.call("POST", "/touchpoints", {"leadId": made["id"], "type": "meeting_booked", "summary": "Demo on Friday"})
    step("a booked meeting moves the lead, and says by which rule", booked["automation"]["movedTo"]["name"] == "Meeting")
    seen = agent.call("GET", f"/leads/{made['id']}")["lead"]
    step("the lead shows why it moved", seen["stage"] == "Meeting" and seen["stageHistory"][-1]["reason"]["trigger"] == "meeting_booked")
    scored = agent.call("POST", "/leads/score", {"leadId": made["id"]})
    step("its score is the sum of its factors", abs(scored["score"] - sum(f["points"] for f in scored["factors"])) < 0.01 and scored["label"] in ("hot", "warm", "cool"))
    played = agent.call("POST", "/playbooks", {"leadId": made["id"]})
    step("the playbook prepares the meeting", played["playbook"]["id"] == "meeting-preparation")
    figures = agent.call("GET", "/analytics?days=30")
    step("the figures count it", figures["meetingsBooked"] >= 1 and figures["leadsInPeriod"] >= 1)
    sent = agent.call("POST", "/feedback", {"type": "bug", "agent": "scout", "priority": "high", "title": f"API Error: {RUN}", "description": "Nothing, this is a drill.", "context": {"endpoint": "/leads", "statusCode": 500}})
    step("feedback is kept", agent.call("GET", f"/feedback?id={sent['feedbackId']}")["feedback"][0]["status"] == "submitted")
    agent.call("DELETE", f"/leads/{made['id']}")
    agent.call("PATCH", f"/leads/{made['id']}", {"restore": True})
    step("a deleted lead is restored", agent.call("GET", f"/leads/{made['id']}")["lead"]["email"] == lead["email"])


status, account = request("POST", "/api/openclaw/signup", {"email": f"agent-{RUN}@example.com", "workspace_name": f"Acme {RUN}", "agent_name": "scout", "agent_platform": "openclaw"})
if status == 201:
    step("a workspace is signed up", account["apiKey"].startswith("rcm_live_"))
    own = Agent(account["apiKey"])
    step("it is on the free plan", own.call("GET", "/org/tier")["limits"] == {"leads": 100, "campaigns": 3})
    day(own)
else:
    step("sign-ups are refused from here", status in (403, 429))
day(Agent(KEY))
