//! Opens the connector of a source by its kind.

use super::connector::Connector;
use super::feed::FeedConnector;
use super::folder::FolderConnector;
use super::git::GitConnector;
use super::imap::MailboxConnector;
use super::s3::BucketConnector;
use super::settings::Settings;
use super::store::Source;
use crate::app::App;
use crate::error::Result;

/// Connects to a source.
pub(super) async fn connect(app: &App, source: &Source) -> Result<Box<dyn Connector>> {
    let settings = source.settings()?;
    settings.check(app)?;
    Ok(match settings {
        Settings::Folder(folder) => Box::new(FolderConnector::new(app, &folder)?),
        Settings::S3(bucket) => {
            let secret = source.open_secret(app).await?;
            Box::new(BucketConnector::new(app, &bucket, secret)?)
        }
        Settings::Feed(feed) => Box::new(FeedConnector::new(app, &feed)?),
        Settings::Git(repository) => {
            let secret = source.open_secret(app).await?;
            Box::new(GitConnector::new(app, source, &repository, secret)?)
        }
        Settings::Imap(mailbox) => {
            let secret = source.open_secret(app).await?;
            Box::new(MailboxConnector::new(app, &mailbox, secret)?)
        }
    })
}
