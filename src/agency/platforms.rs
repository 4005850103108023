//! The publishing platforms as data: where people grant access, where tokens come from, what is asked for, who the account is.

use std::collections::BTreeMap;

use url::Url;

use crate::config::Config;
use crate::error::{Error, Result};

/// A platform.
#[derive(Debug)]
pub struct Platform {
    pub name: &'static str,
    pub title: &'static str,
    /// Where a person grants access.
    pub authorize: &'static str,
    /// Where codes and refresh tokens are exchanged for access tokens.
    pub token: &'static str,
    /// Where tokens are revoked (RFC 7009); `None` where the platform has no such address.
    pub revoke: Option<&'static str>,
    /// Describes the account of an access token.
    pub account: &'static str,
    /// Members of that description that may have the name of the account, in order of preference.
    pub names: &'static [&'static str],
    pub scopes: &'static [&'static str],
    /// Separator of scopes.
    pub separator: &'static str,
    /// Name of the parameter for the client id.
    pub client_id: &'static str,
    /// More parameters of the authorisation.
    pub extra: &'static [(&'static str, &'static str)],
}

const GOOGLE: Platform = Platform {
    name: "",
    title: "",
    authorize: "https://accounts.google.com/o/oauth2/v2/auth",
    token: "https://oauth2.googleapis.com/token",
    revoke: Some("https://oauth2.googleapis.com/revoke"),
    account: "https://openidconnect.googleapis.com/v1/userinfo",
    names: &["name", "email"],
    scopes: &[],
    separator: " ",
    client_id: "client_id",
    // Without them Google gives no refresh token.
    extra: &[("access_type", "offline"), ("prompt", "consent")],
};

const META: Platform = Platform {
    authorize: "https://www.facebook.com/v21.0/dialog/oauth",
    token: "https://graph.facebook.com/v21.0/oauth/access_token",
    revoke: None,
    account: "https://graph.facebook.com/v21.0/me",
    names: &["name", "id"],
    separator: ",",
    extra: &[],
    ..GOOGLE
};

/// The platforms.
pub static PLATFORMS: [Platform; 12] = [
    Platform {
        name: "linkedin",
        title: "LinkedIn",
        authorize: "https://www.linkedin.com/oauth/v2/authorization",
        token: "https://www.linkedin.com/oauth/v2/accessToken",
        revoke: Some("https://www.linkedin.com/oauth/v2/revoke"),
        account: "https://api.linkedin.com/v2/userinfo",
        scopes: &["openid", "profile", "email", "w_member_social"],
        extra: &[],
        ..GOOGLE
    },
    Platform {
        name: "facebook",
        title: "Facebook",
        scopes: &[
            "pages_show_list",
            "pages_manage_posts",
            "pages_read_engagement",
        ],
        ..META
    },
    Platform {
        name: "instagram",
        title: "Instagram",
        scopes: &[
            "instagram_basic",
            "instagram_content_publish",
            "pages_show_list",
        ],
        ..META
    },
    Platform {
        name: "tiktok",
        title: "TikTok",
        authorize: "https://www.tiktok.com/v2/auth/authorize/",
        token: "https://open.tiktokapis.com/v2/oauth/token/",
        revoke: Some("https://open.tiktokapis.com/v2/oauth/revoke/"),
        account: "https://open.tiktokapis.com/v2/user/info/?fields=open_id,display_name",
        names: &["display_name", "open_id"],
        scopes: &["user.info.basic", "video.publish"],
        separator: ",",
        client_id: "client_key",
        extra: &[],
    },
    Platform {
        name: "wordpress",
        title: "WordPress.com",
        authorize: "https://public-api.wordpress.com/oauth2/authorize",
        token: "https://public-api.wordpress.com/oauth2/token",
        revoke: None,
        account: "https://public-api.wordpress.com/rest/v1.1/me",
        names: &["display_name", "username"],
        scopes: &["posts", "media"],
        extra: &[],
        ..GOOGLE
    },
    Platform {
        name: "google_business_profile",
        title: "Google Business Profile",
        scopes: &[
            "openid",
            "email",
            "profile",
            "https://www.googleapis.com/auth/business.manage",
        ],
        ..GOOGLE
    },
    Platform {
        name: "google_ads",
        title: "Google Ads",
        scopes: &[
            "openid",
            "email",
            "profile",
            "https://www.googleapis.com/auth/adwords",
        ],
        ..GOOGLE
    },
    Platform {
        name: "meta_ads",
        title: "Meta Ads",
        scopes: &["ads_read", "ads_management"],
        ..META
    },
    Platform {
        name: "mailchimp",
        title: "Mailchimp",
        authorize: "https://login.mailchimp.com/oauth2/authorize",
        token: "https://login.mailchimp.com/oauth2/token",
        revoke: None,
        account: "https://login.mailchimp.com/oauth2/metadata",
        names: &["accountname", "login_name"],
        extra: &[],
        ..GOOGLE
    },
    Platform {
        name: "klaviyo",
        title: "Klaviyo",
        authorize: "https://www.klaviyo.com/oauth/authorize",
        token: "https://a.klaviyo.com/oauth/token",
        revoke: Some("https://a.klaviyo.com/oauth/revoke"),
        account: "https://a.klaviyo.com/api/accounts",
        names: &["organization_name", "id"],
        scopes: &["accounts:read", "campaigns:write", "templates:write"],
        extra: &[],
        ..GOOGLE
    },
    Platform {
        name: "google_analytics",
        title: "Google Analytics",
        scopes: &[
            "openid",
            "email",
            "profile",
            "https://www.googleapis.com/auth/analytics.readonly",
        ],
        ..GOOGLE
    },
    Platform {
        name: "google_search_console",
        title: "Google Search Console",
        scopes: &[
            "openid",
            "email",
            "profile",
            "https://www.googleapis.com/auth/webmasters.readonly",
        ],
        ..GOOGLE
    },
];

/// Names of the platforms.
pub const NAMES: [&str; 12] = [
    "linkedin",
    "facebook",
    "instagram",
    "tiktok",
    "wordpress",
    "google_business_profile",
    "google_ads",
    "meta_ads",
    "mailchimp",
    "klaviyo",
    "google_analytics",
    "google_search_console",
];

/// Returns a platform.
///
/// # Errors
/// `platform_unknown`.
pub fn named(name: &str) -> Result<&'static Platform> {
    PLATFORMS.iter().find(|p| p.name == name).ok_or_else(|| {
        Error::not_found(
            "platform_unknown",
            format!(
                "there is no platform {name:?}; use one of {}",
                NAMES.join(", ")
            ),
        )
    })
}

/// The application that Cairn is at a platform.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Reads `name=value` pairs, comma-separated.
fn pairs(setting: &str, text: &str) -> Result<BTreeMap<String, String>> {
    let entries = text.split(',').map(str::trim).filter(|e| !e.is_empty());
    entries
        .map(|entry| {
            let (name, value) = entry.split_once('=').ok_or_else(|| {
                Error::invalid(
                    "config_invalid",
                    format!("{setting}: every entry is platform=value"),
                )
            })?;
            let name = named(name.trim()).map_err(|e| {
                Error::invalid(
                    "config_invalid",
                    format!("{setting}: {}", e.public_message()),
                )
            })?;
            Ok((name.name.to_owned(), value.trim().to_owned()))
        })
        .collect()
}

impl Platform {
    /// Returns the application that is configured for the platform.
    ///
    /// # Errors
    /// `platform_not_configured`, `config_invalid`.
    pub fn client(&self, config: &Config) -> Result<Client> {
        let missing = || {
            Error::unprocessable(
                "platform_not_configured",
                format!(
                    "{} is not configured: set its client id and secret in channel_clients",
                    self.title
                ),
            )
        };
        let mut clients = pairs("channel_clients", &config.channel_clients)?;
        let entry = clients.remove(self.name).ok_or_else(missing)?;
        let (id, secret) = entry.split_once(':').ok_or_else(missing)?;
        Ok(Client {
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// Returns an address of the platform, below the configured base address instead of its own where there is one.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn url(&self, config: &Config, address: &str) -> Result<Url> {
        let bases = pairs("channel_urls", &config.channel_urls)?;
        let invalid = |e: url::ParseError| {
            Error::invalid(
                "config_invalid",
                format!("channel_urls: {}: {e}", self.name),
            )
        };
        let own = Url::parse(address).map_err(invalid)?;
        let Some(base) = bases.get(self.name) else {
            return Ok(own);
        };
        let mut url = Url::parse(base).map_err(invalid)?;
        url.set_path(own.path());
        url.set_query(own.query());
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_platform_is_valid() {
        let config = Config::default();
        assert_eq!(PLATFORMS.each_ref().map(|p| p.name), NAMES);
        for platform in &PLATFORMS {
            let addresses = [platform.authorize, platform.token, platform.account];
            for address in addresses.into_iter().chain(platform.revoke) {
                let url = platform.url(&config, address).expect("an address");
                assert_eq!(url.scheme(), "https", "{address}");
            }
        }
    }

    #[test]
    fn clients_are_configured_by_platform() {
        let config = Config {
            channel_clients: "linkedin=id:se:cret".to_owned(),
            channel_urls: "linkedin=http://127.0.0.1:9".to_owned(),
            ..Config::default()
        };
        let linkedin = named("linkedin").expect("known");
        let client = linkedin.client(&config).expect("configured");
        assert_eq!(
            (client.id.as_str(), client.secret.as_str()),
            ("id", "se:cret")
        );
        let url = linkedin.url(&config, linkedin.token).expect("an address");
        assert_eq!(url.as_str(), "http://127.0.0.1:9/oauth/v2/accessToken");
        let error = named("tiktok")
            .expect("known")
            .client(&config)
            .expect_err("not configured");
        assert_eq!(error.code(), "platform_not_configured");
    }
}
