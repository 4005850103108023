//! Assets: an upload is announced, its bytes go to an address that is signed and expires, and it is complete when size and checksum are those that the caller
//! says. The text of documents is searched.

use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::auth::{Area, Caller};
use crate::blobs::Stored;
use crate::clock::Time;
use crate::db::{Tx, args};
use crate::error::{Error, Result};
use crate::kb::datasets::{self};
use crate::kb::documents::{DocumentSource, NewDocument};
use crate::records::body::{Body, forbidden, invalid, text};
use crate::records::kind::{CUSTOM, DESCRIPTION, Field, FieldType, LINE, Lifecycle};
use crate::records::plan::{Change, Plan};
use crate::records::{Kind, Record, store, write};
use crate::seal;
use crate::work::{SUBJECT_TYPE, SUBJECTS};

/// A file of a workspace.
pub static ASSET: Kind = Kind::new(
    "asset",
    "asset",
    Area::Assets,
    &[
        Field::new(
            "asset_type",
            FieldType::OneOf(&["document", "image", "video", "attachment"]),
        )
        .required()
        .filter(),
        Field::new("file_name", LINE).required(),
        Field::new("name", LINE),
        DESCRIPTION,
        Field::new("mime_type", FieldType::Line(200)).required(),
        SUBJECT_TYPE,
        Field::new("related_resource_id", FieldType::Link(&SUBJECTS)).filter(),
        CUSTOM,
    ],
)
.titled("name")
.lifecycle(Lifecycle::free(&[
    "upload_pending",
    "available",
    "archived",
]))
.hook(|change| Box::pin(async move { announce(change) }));

/// How long a signed address holds.
const HOLDS: Duration = Duration::from_secs(3600);

/// Operation that a signed address permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allows {
    /// Sending the bytes.
    Upload,
    /// Reading them.
    Download,
}

impl Allows {
    fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// The secret of this installation, made when it is first needed and read once.
async fn secret(app: &App) -> Result<&str> {
    let secret = app.signing_secret.get_or_try_init(|| load_secret(app));
    Ok(secret.await?)
}

/// Purpose for which the key of addresses is sealed.
const PURPOSE: &str = "assets";

async fn load_secret(app: &App) -> Result<String> {
    const READ: &str = "SELECT value FROM signing_keys WHERE name = 'assets'";
    let sealer = app.sealer().await?;
    let stored: Option<(String,)> = app.db.optional(READ, args![]).await?;
    if let Some((value,)) = stored.filter(|(value,)| seal::is_sealed(value)) {
        return sealer.open_sealed(PURPOSE, &value);
    }
    // None yet, or one from before it was encrypted: a new one ends the addresses that it signed, which hold for an hour.
    app.db
        .execute(
            "INSERT INTO signing_keys (name, value) VALUES ('assets', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value
             WHERE signing_keys.value NOT LIKE 'sealed:%'",
            args![sealer.seal(PURPOSE, &app.clock.secret())?],
        )
        .await?;
    let (value,): (String,) = app.db.one(READ, args![]).await?;
    sealer.open_sealed(PURPOSE, &value)
}

fn sign(secret: &str, allows: Allows, tenant_id: &str, id: &str, expires: i64) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map_err(|e| Error::internal(e.to_string()))?;
    mac.update(format!("{}/{tenant_id}/{id}/{expires}", allows.name()).as_bytes());
    Ok(hex::encode(mac.finalize().into_bytes()))
}

/// A path below the service that allows something for an hour.
///
/// # Errors
/// As the database says.
pub(crate) async fn path(
    app: &App,
    allows: Allows,
    tenant_id: &str,
    public_id: &str,
) -> Result<String> {
    let expires = app.clock.now().plus(HOLDS).0 / 1000;
    let signature = sign(secret(app).await?, allows, tenant_id, public_id, expires)?;
    Ok(format!(
        "/v1/files/{tenant_id}/{public_id}?expires={expires}&signature={signature}"
    ))
}

/// Checks a signed address.
///
/// # Errors
/// `signature_invalid`.
pub async fn allow(
    app: &App,
    allows: Allows,
    tenant_id: &str,
    public_id: &str,
    expires: i64,
    signature: &str,
) -> Result<()> {
    let expected = sign(secret(app).await?, allows, tenant_id, public_id, expires)?;
    let same = bool::from(expected.as_bytes().ct_eq(signature.as_bytes()));
    if !same || expires < app.clock.now().0 / 1000 {
        return Err(Error::forbidden(
            "signature_invalid",
            "the URL is invalid or has expired",
        ));
    }
    Ok(())
}

/// Checks the announcement of an upload.
fn announce(change: &mut Change<'_>) -> Result<()> {
    if !change.is_new() {
        return Ok(());
    }
    let file_name = text(&change.body, "file_name")
        .unwrap_or_default()
        .to_owned();
    if file_name.contains(['/', '\\']) {
        return Err(invalid("file_name must be a name without a path"));
    }
    if change.status() != Some("upload_pending") {
        return Err(invalid("a new asset must have the status upload_pending"));
    }
    change.default("name", file_name);
    Ok(())
}

/// Returns a plan that announces an upload, and answers with the address for its bytes.
///
/// # Errors
/// `body_invalid`.
pub async fn open_upload(app: &App, caller: &Caller, given: &Body) -> Result<Plan> {
    let mut plan = write::create(app, caller, &ASSET, given.into()).await?;
    let id = plan.record().map(|record| ASSET.public_id(&record.id));
    let path = path(
        app,
        Allows::Upload,
        caller.tenant(),
        &id.unwrap_or_default(),
    )
    .await?;
    let max_bytes = app.config.upload_file_mb << 20;
    for (name, value) in [
        ("upload_url", json!(path)),
        ("upload_method", json!("PUT")),
        ("upload_max_bytes", json!(max_bytes)),
    ] {
        plan.shown.insert(name.to_owned(), value);
    }
    Ok(plan)
}

/// An asset with the address of its bytes.
///
/// # Errors
/// `record_not_found`.
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<Value> {
    let asset = store::load(app, caller.tenant(), &ASSET, id).await?;
    let mut shown = ASSET.to_json(&asset)?;
    shown["download_url"] = if asset.status.as_deref() == Some("available") {
        json!(path(app, Allows::Download, caller.tenant(), id).await?)
    } else {
        Value::Null
    };
    Ok(shown)
}

/// Keeps the bytes that came for an asset which waits for them.
///
/// # Errors
/// `record_not_found`, `asset_not_waiting`.
pub async fn received(app: &App, tenant_id: &str, public_id: &str, stored: &Stored) -> Result<()> {
    let asset = store::load(app, tenant_id, &ASSET, public_id).await?;
    if asset.status.as_deref() != Some("upload_pending") {
        return Err(Error::conflict(
            "asset_not_waiting",
            "the asset is already uploaded or archived",
        ));
    }
    let mut tx = app.db.begin().await?;
    // Whoever completes the upload at this moment looks again at what came.
    let ours = tx
        .execute(
            "UPDATE records SET updated_on = $1 WHERE tenant_id = $2 AND id = $3 AND status = 'upload_pending'",
            args![Time(app.clock.now().0.max(asset.updated_on.0 + 1)), tenant_id, &asset.id],
        )
        .await?;
    if ours == 0 {
        return Err(Error::conflict(
            "asset_not_waiting",
            "the asset is already uploaded or archived",
        ));
    }
    keep(&mut tx, tenant_id, &asset.id, stored, app.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// Notes which bytes belong to a record.
pub(crate) async fn keep(
    tx: &mut Tx,
    tenant_id: &str,
    record_id: &str,
    stored: &Stored,
    now: Time,
) -> Result<()> {
    let size = i64::try_from(stored.size).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO record_files (record_id, tenant_id, hash, size_bytes, created_on) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (record_id) DO UPDATE SET hash = excluded.hash, size_bytes = excluded.size_bytes",
        args![record_id, tenant_id, &stored.hash, size, now],
    )
    .await?;
    Ok(())
}

/// The bytes of a record: their hash and size, the name and the type under which they are given out.
///
/// # Errors
/// `record_not_found`.
pub async fn file(
    app: &App,
    tenant_id: &str,
    kind: &Kind,
    public_id: &str,
) -> Result<(String, i64, String, String)> {
    let missing = || Error::not_found("record_not_found", "file not found");
    let record = store::load(app, tenant_id, kind, public_id).await?;
    if !matches!(record.status.as_deref(), Some("available" | "completed")) {
        return Err(missing());
    }
    let (hash, size): (String, i64) = app
        .db
        .optional(
            "SELECT hash, size_bytes FROM record_files WHERE tenant_id = $1 AND record_id = $2",
            args![tenant_id, &record.id],
        )
        .await?
        .ok_or_else(missing)?;
    let body = record.body()?;
    let name = text(&body, "file_name").unwrap_or("file").to_owned();
    let mime = text(&body, "mime_type").unwrap_or("application/octet-stream");
    Ok((hash, size, name, mime.to_owned()))
}

/// A plan that completes an upload: its size and checksum must be those that came.
///
/// # Errors
/// `record_not_found`, `body_invalid`, `asset_not_waiting`, `upload_missing`, `upload_differs`.
pub async fn complete(app: &App, caller: &Caller, id: &str, given: &Body) -> Result<Plan> {
    let before = store::load(app, caller.tenant(), &ASSET, id).await?;
    if before.status.as_deref() != Some("upload_pending") {
        return Err(forbidden(
            "asset_not_waiting",
            "the asset is already completed or archived",
        ));
    }
    let size = given
        .get("byte_size")
        .and_then(Value::as_i64)
        .ok_or_else(|| invalid("byte_size must be the number of bytes"))?;
    let checksum = text(given, "checksum_sha256")
        .map(str::to_lowercase)
        .filter(|c| c.len() == 64 && c.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| invalid("checksum_sha256 must be a SHA-256 in hexadecimal"))?;
    let came: Option<(String, i64)> = app
        .db
        .optional(
            "SELECT hash, size_bytes FROM record_files WHERE tenant_id = $1 AND record_id = $2",
            args![caller.tenant(), &before.id],
        )
        .await?;
    let Some((hash, bytes)) = came else {
        return Err(forbidden(
            "upload_missing",
            "nothing was uploaded; PUT the bytes to upload_url first",
        ));
    };
    if hash != checksum || bytes != size {
        return Err(forbidden(
            "upload_differs",
            format!(
                "byte_size and checksum_sha256 do not match the upload of {bytes} bytes with the checksum {hash}; upload the file again"
            ),
        ));
    }
    let mut body = before.body()?;
    body.insert("byte_size".to_owned(), json!(bytes));
    body.insert("checksum_sha256".to_owned(), json!(hash));
    let after = Record {
        status: Some("available".to_owned()),
        body: Value::Object(body.clone()).to_string(),
        ..before.clone()
    };
    let mut plan = Plan::default();
    let document = searched(app, caller.tenant(), id, &before, &body, (&hash, bytes)).await?;
    plan.documents.extend(document);
    plan.update(&ASSET, before, after, app.clock.now());
    Ok(plan)
}

/// The document by which the text of an asset is found, when it has a format with text.
async fn searched(
    app: &App,
    tenant_id: &str,
    public_id: &str,
    asset: &Record,
    body: &Body,
    (hash, size): (&str, i64),
) -> Result<Option<(String, NewDocument)>> {
    let head = app.blobs.head(tenant_id, hash).await?;
    let file_name = text(body, "file_name").unwrap_or("file").to_owned();
    let input = cairn_ingest::Input {
        file_name: &file_name,
        mime_type: text(body, "mime_type"),
        bytes: &head,
        ocr: app.parser.ocr.as_deref(),
        ..cairn_ingest::Input::default()
    };
    let Ok(format) = cairn_ingest::parse::detect(&input) else {
        // A picture, a film: found by its name and description only.
        return Ok(None);
    };
    let mime_type = format.mime_type(&file_name).to_owned();
    let dataset = datasets::area_dataset(app, tenant_id, Area::Assets).await?;
    let stored = Stored {
        hash: hash.to_owned(),
        size: size.unsigned_abs(),
        head,
    };
    Ok(Some((
        dataset.id,
        NewDocument {
            title: Some(asset.title.clone()),
            source: DocumentSource::PublishedContent,
            metadata: json!({"kind": "asset", "recordId": public_id}),
            external_id: Some(format!("{}~file", asset.id)),
            ..NewDocument::new(file_name, mime_type, stored)
        },
    )))
}
