//! Mails that come back: delivery reports (RFC 3464) block the address that bounced, replies become touchpoints and end the sequence of their lead.

use mail_parser::{HeaderValue, Message, MessageParser, MimeHeaders};

use super::super::touchpoints::Touch;
use super::{enrol, receivers};
use crate::app::App;
use crate::crm::LEAD;
use crate::db::args;
use crate::error::{Error, Result};
use crate::records::store::{self, Offset};

/// Classification of a mail.
#[derive(Debug, Clone)]
pub enum Received {
    /// A report that these addresses are unreachable.
    Bounced(Vec<String>),
    /// A reply or another mail of this lead, by the id of its row; its campaigns have ended.
    FromLead { lead_id: String, touch: Box<Touch> },
    /// A report of a delay or a delivery, which changes nothing.
    Report,
    /// A mail of somebody unknown.
    Unknown {
        address: String,
        name: Option<String>,
        subject: String,
        text: String,
    },
}

/// Parts of a delivery report about one receiver.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    address: String,
    is_failed: bool,
    detail: String,
}

/// Reads the receivers of a delivery report: blocks of headers, the first of which is about the message as a whole.
fn reports(text: &str) -> Vec<Report> {
    let text = text.replace("\r\n", "\n");
    let mut found = Vec::new();
    for block in text.split("\n\n") {
        // Continued lines belong to the line before.
        let block = block.replace("\n ", " ").replace("\n\t", " ");
        let field = |name: &str| {
            block.lines().find_map(|line| {
                let (head, value) = line.split_once(':')?;
                head.trim()
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let Some(receiver) = field("final-recipient").or(field("original-recipient")) else {
            continue;
        };
        let address = receiver.rsplit(';').next().unwrap_or_default().trim();
        let action = field("action").unwrap_or_default().to_lowercase();
        let status = field("status").unwrap_or_default();
        found.push(Report {
            address: address.trim_matches(['<', '>']).to_lowercase(),
            is_failed: action == "failed" && !status.starts_with('4'),
            detail: field("diagnostic-code").unwrap_or(status),
        });
    }
    found
}

fn report_part(message: &Message<'_>) -> Option<String> {
    let is_report = |subtype: &str| {
        subtype.eq_ignore_ascii_case("delivery-status")
            || subtype.eq_ignore_ascii_case("global-delivery-status")
    };
    message.parts.iter().find_map(|part| {
        let kind = part.content_type()?;
        let is_message = kind.ctype().eq_ignore_ascii_case("message");
        if !is_message || !kind.subtype().is_some_and(is_report) {
            return None;
        }
        Some(String::from_utf8_lossy(part.contents()).into_owned())
    })
}

fn ids(value: &HeaderValue<'_>) -> Vec<String> {
    let list = value.as_text_list().unwrap_or_default();
    list.iter().map(ToString::to_string).collect()
}

/// Reads a mail that was handed in: a delivery report, whose addresses are blocked; a reply, whose campaigns end and whose touchpoint the caller logs; or another
/// mail. What it does can be repeated.
///
/// # Errors
/// `mail_invalid` for what is no mail.
pub async fn receive(app: &App, tenant_id: &str, raw: &[u8]) -> Result<Received> {
    let message = MessageParser::default().parse(raw);
    let message = message
        .filter(|m| m.from().is_some() || report_part(m).is_some())
        .ok_or_else(|| Error::invalid("mail_invalid", "this is no mail (RFC 5322)"))?;
    if let Some(report) = report_part(&message) {
        return bounced(app, tenant_id, &reports(&report)).await;
    }
    let from = message.from().and_then(|from| from.first());
    let address = from
        .and_then(|a| a.address())
        .unwrap_or_default()
        .to_lowercase();
    let subject = message.subject().unwrap_or_default().to_owned();
    let text = message.body_text(0).unwrap_or_default().into_owned();
    let mut referred = ids(message.in_reply_to());
    referred.extend(ids(message.references()));
    let Some(lead_id) = lead_of(app, tenant_id, &referred, &address).await? else {
        return Ok(Received::Unknown {
            address,
            name: from.and_then(|a| a.name()).map(str::to_owned),
            subject,
            text,
        });
    };
    let mut tx = app.db.begin().await?;
    enrol::stop_lead(app, &mut tx, tenant_id, &lead_id, "replied").await?;
    app.commit(tx).await?;
    let touch = Touch {
        touchpoint_type: "email_reply".to_owned(),
        summary: if subject.is_empty() {
            "reply".to_owned()
        } else {
            subject
        },
        text: Some(text),
        ..Touch::default()
    };
    Ok(Received::FromLead {
        lead_id,
        touch: Box::new(touch),
    })
}

async fn bounced(app: &App, tenant_id: &str, reports: &[Report]) -> Result<Received> {
    let mut blocked = Vec::new();
    for report in reports.iter().filter(|r| r.is_failed) {
        // A report about an address that nothing was sent to is somebody else's.
        let known: Option<(String,)> = app
            .db
            .optional(
                "SELECT id FROM mails WHERE address = $1 AND tenant_id = $2 LIMIT 1",
                args![&report.address, tenant_id],
            )
            .await?;
        if known.is_some() {
            let detail = Some(report.detail.as_str());
            receivers::block(app, tenant_id, &report.address, "bounced", detail).await?;
            blocked.push(report.address.clone());
        }
    }
    Ok(if blocked.is_empty() {
        Received::Report
    } else {
        Received::Bounced(blocked)
    })
}

/// Returns the lead that a mail is from: that of the mail it replies to, or the one with its address.
async fn lead_of(
    app: &App,
    tenant_id: &str,
    referred: &[String],
    address: &str,
) -> Result<Option<String>> {
    for id in referred {
        let Some(mail_id) = id.trim_matches(['<', '>']).split(".cairn@").next() else {
            continue;
        };
        let found: Option<(String,)> = app
            .db
            .optional(
                "SELECT lead_id FROM mails WHERE id = $1 AND tenant_id = $2",
                args![mail_id.to_uppercase(), tenant_id],
            )
            .await?;
        if let Some((lead_id,)) = found {
            return Ok(Some(lead_id));
        }
    }
    let query = Offset {
        filters: vec![("email".to_owned(), address.to_owned())],
        limit: 1,
        ..Offset::default()
    };
    let (found, _) = store::at_offset(app, tenant_id, &LEAD, &query).await?;
    Ok(found.into_iter().next().map(|lead| lead.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Reporting-MTA: dns; mx.test\r\n\r\nFinal-Recipient: rfc822; Ada@Berg.test\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1\r\n no such user\r\n\r\nFinal-Recipient: rfc822;bo@berg.test\r\nAction: delayed\r\nStatus: 4.4.1\r\n";

    #[test]
    fn a_report_says_which_addresses_failed_for_good() {
        let found = reports(REPORT);
        let failed: Vec<&str> = found
            .iter()
            .filter(|r| r.is_failed)
            .map(|r| r.address.as_str())
            .collect();
        assert_eq!((failed, found.len()), (vec!["ada@berg.test"], 2));
        assert_eq!(found[0].detail, "smtp; 550 5.1.1 no such user");
    }
}
