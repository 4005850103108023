//! Money: invoices that add up, payments that never exceed them, journal entries that balance. Amounts are whole minor units of a currency.

use serde_json::{Value, json};

use super::{ACCOUNT, CURRENCY, INVOICE};
use crate::error::{Error, Result};
use crate::records::Record;
use crate::records::body::{Body, forbidden, invalid, text};
use crate::records::plan::Change;
use crate::records::store;

/// A field of a line: a whole number that is not negative.
fn cents(line: &Value, at: usize, name: &str, otherwise: Option<i64>) -> Result<i64> {
    let wrong = || {
        invalid(format!(
            "line {}: {name} must be a whole number of at least 0",
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

/// Adds up the lines of a new invoice.
pub(super) fn invoice(change: &mut Change<'_>) -> Result<()> {
    if !change.is_new() {
        return Ok(());
    }
    if matches!(change.status(), Some("paid" | "partially_paid")) {
        return Err(invalid(
            "a new invoice cannot be paid; record payments instead",
        ));
    }
    let body = &mut change.body;
    let lines = body
        .get("line_items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if lines.is_empty() {
        return Err(invalid("an invoice must have at least one line"));
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
            .ok_or_else(|| invalid("the total of the invoice is too large"))?;
    }
    body.entry("currency").or_insert(json!(CURRENCY));
    body.insert("total_cents".to_owned(), json!(total));
    body.insert("paid_cents".to_owned(), json!(0));
    body.insert("balance_cents".to_owned(), json!(total));
    Ok(())
}

/// Moves the invoice of a new payment on.
pub(super) fn payment(change: &mut Change<'_>) -> Result<()> {
    if !change.is_new() {
        return Ok(());
    }
    let (now, body) = (change.now, &mut change.body);
    let before = change
        .linked
        .iter()
        .find(|record| record.kind == INVOICE.name)
        .cloned()
        .ok_or_else(|| Error::internal("a payment without its invoice"))?;
    let mut invoice = before.body()?;
    let status = before.status.as_deref().unwrap_or_default();
    if !matches!(status, "sent" | "partially_paid") {
        return Err(forbidden(
            "invoice_not_payable",
            format!("the invoice is {status}; payments require a sent or partially paid invoice"),
        ));
    }
    let currency = text(&invoice, "currency").unwrap_or(CURRENCY).to_owned();
    if text(body, "currency").is_some_and(|c| c != currency) {
        return Err(forbidden(
            "currency_mismatch",
            format!("the currency must be that of the invoice, {currency}"),
        ));
    }
    let number = |body: &Body, name: &str| body.get(name).and_then(Value::as_i64).unwrap_or(0);
    let (amount, balance) = (
        number(body, "amount_cents"),
        number(&invoice, "balance_cents"),
    );
    if amount == 0 {
        return Err(invalid("a payment must be greater than 0"));
    }
    if amount > balance {
        return Err(forbidden(
            "overpayment",
            format!("the open balance of the invoice is {balance}, but the payment is {amount}"),
        ));
    }
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
    body.insert("currency".to_owned(), json!(currency));
    body.entry("paid_on").or_insert(json!(now.rfc3339()));
    change.after.parent_id = Some(before.id.clone());
    let moved = change.plan.update(&INVOICE, before, after, now);
    if paid {
        change.plan.events.push(("invoice.paid", moved));
    }
    Ok(())
}

/// Checks that the lines of a journal entry balance, and that their accounts are there.
pub(super) async fn journal(change: &mut Change<'_>) -> Result<()> {
    if !change.is_new() {
        return Ok(());
    }
    let (app, caller, now) = (change.app, change.caller, change.now);
    let is_posted = change.status() == Some("posted");
    let body = &mut change.body;
    let lines = body
        .get("lines")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if lines.len() < 2 {
        return Err(invalid("a journal entry must have at least two lines"));
    }
    let (mut debit, mut credit) = (0_i64, 0_i64);
    for (at, line) in lines.iter().enumerate() {
        let (d, c) = (
            cents(line, at, "debit_cents", Some(0))?,
            cents(line, at, "credit_cents", Some(0))?,
        );
        if (d == 0) == (c == 0) {
            return Err(invalid(format!(
                "line {}: exactly one of debit_cents and credit_cents must be greater than 0",
                at + 1
            )));
        }
        debit += d;
        credit += c;
        let account = line
            .get("account_id")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid(format!("line {}: account_id is missing", at + 1)))?;
        store::load(app, caller.tenant(), &ACCOUNT, account).await?;
    }
    if debit != credit {
        return Err(forbidden(
            "journal_unbalanced",
            format!("debits are {debit} and credits {credit}; they must be equal"),
        ));
    }
    body.entry("currency").or_insert(json!(CURRENCY));
    body.insert("total_cents".to_owned(), json!(debit));
    if is_posted {
        body.insert("posted_at".to_owned(), json!(now.rfc3339()));
    }
    Ok(())
}
