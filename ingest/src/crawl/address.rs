//! Normalization of addresses: one form per page, without parameters that only identify visitors.

use url::Url;

/// Parameters that identify a campaign or a visitor and never the content.
const TRACKING: [&str; 21] = [
    "gclid",
    "dclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "msclkid",
    "yclid",
    "twclid",
    "igshid",
    "mc_cid",
    "mc_eid",
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "mkt_tok",
    "phpsessid",
    "jsessionid",
    "cfid",
    "cftoken",
    "sessionid",
];

/// Longest address that is followed, in bytes; longer ones are traps or data.
pub const LONGEST: usize = 2000;

/// Returns the normalized address: no fragment, no credentials, no campaign or visitor parameters, no empty query.
#[must_use]
pub fn canonical(mut address: Url) -> Url {
    address.set_fragment(None);
    // Addresses without a host have no credentials, and are rejected later.
    let _ = address.set_username("");
    let _ = address.set_password(None);
    if let Some((path, _)) = address
        .path()
        .to_ascii_lowercase()
        .split_once(";jsessionid=")
    {
        let kept = address.path()[..path.len()].to_owned();
        address.set_path(&kept);
    }
    if let Some(query) = address.query() {
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| !pair.is_empty() && !is_tracking(pair))
            .collect();
        let kept = kept.join("&");
        address.set_query((!kept.is_empty()).then_some(kept.as_str()));
    }
    address
}

fn is_tracking(pair: &str) -> bool {
    let name = pair
        .split('=')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    name.starts_with("utm_")
        || name.starts_with("aspsessionid")
        || TRACKING.contains(&name.as_str())
}

/// Resolves a reference in a page, a redirect or a sitemap against `base` and normalizes it; `None` if it is not a web address. Origins in `aliases` are
/// replaced by the site's own one.
#[must_use]
pub fn resolve(base: &Url, reference: &str, site: &Url, aliases: &[Url]) -> Option<Url> {
    let mut address = base.join(reference.trim()).ok()?;
    if !matches!(address.scheme(), "http" | "https") || !address.has_host() {
        return None;
    }
    if aliases
        .iter()
        .any(|alias| alias.origin() == address.origin())
    {
        let query = address.query().map(str::to_owned);
        let mut own = site.clone();
        own.set_path(address.path());
        own.set_query(query.as_deref());
        address = own;
    }
    Some(canonical(address))
}

/// Returns path and query, as matched by robots.txt and filters.
#[must_use]
pub fn path_and_query(address: &Url) -> &str {
    &address[url::Position::BeforePath..url::Position::AfterQuery]
}

/// Returns a file name for the page: its address without the scheme, with the extension of its format.
#[must_use]
pub fn file_name(address: &Url, extension: &str) -> String {
    let mut name = format!("{}{}", address.authority(), path_and_query(address));
    if address.path().ends_with('/') && address.query().is_none() {
        name.push_str("index");
    }
    if !extension.is_empty()
        && !name
            .to_ascii_lowercase()
            .ends_with(&format!(".{extension}"))
    {
        name.push('.');
        name.push_str(extension);
    }
    let characters = name.chars().count();
    if characters > 500 {
        // The end is more specific, and has the extension.
        name = name.chars().skip(characters - 500).collect();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("an address")
    }

    #[test]
    fn one_page_has_one_address() {
        for (given, kept) in [
            (
                "HTTP://Example.COM:80/a/../b?utm_source=x&id=2#top",
                "http://example.com/b?id=2",
            ),
            (
                "https://me:secret@example.com/?gclid=1",
                "https://example.com/",
            ),
            (
                "https://example.com/a;jsessionid=AB12?PHPSESSID=3",
                "https://example.com/a",
            ),
            (
                "https://example.com/A?q=b&Q=c",
                "https://example.com/A?q=b&Q=c",
            ),
        ] {
            assert_eq!(canonical(url(given)).as_str(), kept);
        }
    }

    #[test]
    fn references_become_addresses_and_aliases_the_site() {
        let (site, aliases) = (url("http://127.0.0.1:8000/"), [url("https://docs.test/")]);
        let seen = |reference: &str| {
            resolve(
                &url("http://127.0.0.1:8000/a/b"),
                reference,
                &site,
                &aliases,
            )
            .map(String::from)
        };
        assert_eq!(seen(" ../c ").as_deref(), Some("http://127.0.0.1:8000/c"));
        assert_eq!(
            seen("https://docs.test/x?y=1#z").as_deref(),
            Some("http://127.0.0.1:8000/x?y=1")
        );
        assert_eq!(seen("mailto:a@b.test"), None);
        assert_eq!(seen("javascript:void(0)"), None);
    }

    #[test]
    fn pages_are_named_by_their_address() {
        assert_eq!(
            file_name(&url("https://a.test/docs/"), "html"),
            "a.test/docs/index.html"
        );
        assert_eq!(
            file_name(&url("https://a.test/p.php?id=1"), "html"),
            "a.test/p.php?id=1.html"
        );
        assert_eq!(
            file_name(&url("https://a.test/x.pdf"), "pdf"),
            "a.test/x.pdf"
        );
        assert_eq!(
            file_name(&url(&format!("https://a.test/{}", "x".repeat(900))), "html")
                .chars()
                .count(),
            500
        );
    }
}
