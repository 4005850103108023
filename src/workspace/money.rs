//! Money: invoices that add up, payments that never exceed them, journal entries that balance. Amounts are whole minor units of a currency.

use serde_json::{Value, json};

use super::body::{Body, CURRENCY, forbidden, invalid, text};
use super::commit::{self, Plan};
use super::{spec, store};
use crate::app::App;
use crate::auth::Caller;
use crate::error::Result;
use crate::records::Record;

/// A field of a line: a whole number that is not negative.
fn cents(line: &Value, at: usize, name: &str, otherwise: Option<i64>) -> Result<i64> {
    let wrong = || {
        invalid(format!(
            "line {}: {name} is a whole number that is not negative",
            at + 1
        ))
    };
    match line.get(name) {
        None | Some(Value::Null) => otherwise.ok_or_else(wrong),
        Some(value) => value
            .as_i64()
            .filter(|n| (0..=1_000_000_000_000_000).contains(n))
            .ok_or_else(wrong),
    }
}

/// Adds up the lines of an invoice.
pub(super) fn invoice(body: &mut Body) -> Result<()> {
    let lines = body
        .get("line_items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if lines.is_empty() {
        return Err(invalid("an invoice has at least one line"));
    }
    let mut total = 0_i64;
    for (at, line) in lines.iter().enumerate() {
        let name = line.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.trim().is_empty() {
            return Err(invalid(format!("line {}: name is missing", at + 1)));
        }
        let quantity = cents(line, at, "quantity", Some(1))?;
        let unit = cents(line, at, "unit_amount_cents", None)?;
        let tax = cents(line, at, "tax_cents", Some(0))?;
        total = unit
            .checked_mul(quantity)
            .and_then(|sum| sum.checked_add(tax))
            .and_then(|sum| sum.checked_add(total))
            .filter(|sum| *sum <= 1_000_000_000_000_000)
            .ok_or_else(|| invalid("the invoice adds up to more than can be kept"))?;
    }
    if matches!(text(body, "status"), Some("paid" | "partially_paid")) {
        return Err(invalid("an invoice is paid by payments"));
    }
    body.entry("currency").or_insert(json!(CURRENCY));
    body.insert("total_cents".to_owned(), json!(total));
    body.insert("paid_cents".to_owned(), json!(0));
    body.insert("balance_cents".to_owned(), json!(total));
    Ok(())
}

/// A plan that records a payment and moves its invoice on.
pub(super) async fn payment(app: &App, caller: &Caller, mut body: Body) -> Result<Plan> {
    let id = text(&body, "invoice_id").unwrap_or_default().to_owned();
    let before = store::load(app, caller.tenant(), spec::INVOICE, &id).await?;
    let mut invoice = before.body()?;
    let status = before.status.as_deref().unwrap_or_default();
    if !matches!(status, "sent" | "partially_paid") {
        return Err(forbidden(
            "invoice_not_payable",
            format!("the invoice is {status}; only sent and partially paid ones take payments"),
        ));
    }
    let currency = text(&invoice, "currency").unwrap_or(CURRENCY).to_owned();
    if text(&body, "currency").is_some_and(|c| c != currency) {
        return Err(forbidden(
            "currency_mismatch",
            format!("the invoice is in {currency}"),
        ));
    }
    let number = |body: &Body, name: &str| body.get(name).and_then(Value::as_i64).unwrap_or(0);
    let (amount, balance) = (
        number(&body, "amount_cents"),
        number(&invoice, "balance_cents"),
    );
    if amount == 0 {
        return Err(invalid("a payment is more than nothing"));
    }
    if amount > balance {
        return Err(forbidden(
            "overpayment",
            format!("the invoice has {balance} left to pay, and the payment is {amount}"),
        ));
    }
    let now = app.clock.now();
    invoice.insert(
        "paid_cents".to_owned(),
        json!(number(&invoice, "paid_cents") + amount),
    );
    invoice.insert("balance_cents".to_owned(), json!(balance - amount));
    let paid = amount == balance;
    if paid {
        invoice.insert("paid_at".to_owned(), json!(now.rfc3339()));
    }
    let after = Record {
        status: Some(if paid { "paid" } else { "partially_paid" }.to_owned()),
        body: Value::Object(invoice).to_string(),
        ..before.clone()
    };
    let mut plan = Plan::default();
    let shown = plan.change(spec::INVOICE, before.clone(), after, now)?;
    if paid {
        plan.events.push(("invoice.paid".to_owned(), shown));
    }
    body.insert("currency".to_owned(), json!(currency));
    body.entry("paid_on").or_insert(json!(now.rfc3339()));
    let record = commit::draft(app, caller, spec::PAYMENT, body, Some(before.id));
    let shown = plan.add(spec::PAYMENT, record)?;
    Ok(plan.made(shown))
}

/// Checks that the lines of a journal entry balance, and that their accounts are there.
pub(super) async fn journal(app: &App, caller: &Caller, body: &mut Body) -> Result<()> {
    let lines = body
        .get("lines")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if lines.len() < 2 {
        return Err(invalid("a journal entry has at least two lines"));
    }
    let (mut debit, mut credit) = (0_i64, 0_i64);
    for (at, line) in lines.iter().enumerate() {
        let (d, c) = (
            cents(line, at, "debit_cents", Some(0))?,
            cents(line, at, "credit_cents", Some(0))?,
        );
        if (d == 0) == (c == 0) {
            return Err(invalid(format!(
                "line {}: either debit_cents or credit_cents is more than nothing",
                at + 1
            )));
        }
        debit += d;
        credit += c;
        let account = line
            .get("account_id")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid(format!("line {}: account_id is missing", at + 1)))?;
        store::load(app, caller.tenant(), spec::ACCOUNT, account).await?;
    }
    if debit != credit {
        return Err(forbidden(
            "journal_unbalanced",
            format!("debits are {debit} and credits {credit}; they must be the same"),
        ));
    }
    body.entry("currency").or_insert(json!(CURRENCY));
    body.insert("total_cents".to_owned(), json!(debit));
    if text(body, "status").is_none_or(|s| s == "posted") {
        body.insert("posted_at".to_owned(), json!(app.clock.now().rfc3339()));
    }
    Ok(())
}
