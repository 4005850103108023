//! Templates of e-mails, documents, web pages and invoices, and the media for them: the path names the kind.

use super::wire::{Fields, page, paging};
use crate::api::operation::{Call, Data};
use crate::content::{
    DOCUMENT_TEMPLATE, EMAIL_TEMPLATE, INVOICE_TEMPLATE, MEDIA, WEBPAGE_TEMPLATE,
};
use crate::error::{Error, Result};
use crate::records::plan::Plan;
use crate::records::store::{self, Filter};
use crate::records::{Kind, write};

pub(super) fn kind(name: &str) -> Result<&'static Kind> {
    match name {
        "email" | "emails" => Ok(&EMAIL_TEMPLATE),
        "document" | "documents" => Ok(&DOCUMENT_TEMPLATE),
        "webpage" | "webpages" => Ok(&WEBPAGE_TEMPLATE),
        "invoice" | "invoices" => Ok(&INVOICE_TEMPLATE),
        "media" => Ok(&MEDIA),
        _ => Err(Error::not_found(
            "route_unknown",
            "the template kind must be email, document, webpage, invoice or media",
        )),
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Data> {
    let paging = paging(call)?;
    let (kind, filter) = (kind(call.id())?, Filter::default());
    let listed = store::numbered(call.app, call.caller.tenant(), &[kind], &filter, &paging).await?;
    page(kind, &listed, paging)
}

pub(super) async fn create(call: Call<'_>) -> Result<Plan> {
    let kind = kind(call.id())?;
    let new = Fields(call.body.clone()).record()?;
    write::create(call.app, call.caller, kind, new).await
}
