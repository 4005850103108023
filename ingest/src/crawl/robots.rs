//! robots.txt by RFC 9309: groups, longest match, wildcards, and the deciding line. Lines are parsed by a port of Google's parser, which tolerates common
//! mistakes; matching is our own, because that of the port takes quadratic time on hostile patterns.

use robotstxt::{RobotsParseHandler, parse_robotstxt};

/// Maximum bytes of robots.txt that are read; the rest is ignored (RFC 9309, 2.5, requires at least 500 KiB).
pub const LIMIT: usize = 512 << 10;

/// The rules of a robots.txt for one crawler.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Robots {
    rules: Vec<Rule>,
    /// Seconds between two requests, if the group has a `Crawl-delay` (not part of the standard, but widely used).
    pub crawl_delay: Option<f64>,
    /// Addresses of sitemaps, which apply to every crawler.
    pub sitemaps: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    allow: bool,
    pattern: String,
    line: u32,
}

/// Rules of the groups that name the crawler, and of the default groups.
#[derive(Default)]
struct Reader<'a> {
    token: &'a str,
    named: Group,
    everybody: Group,
    /// Whether the current group names the crawler.
    is_named: bool,
    is_everybody: bool,
    /// A rule has ended the list of user agents: the next user agent starts a new group.
    rules_began: bool,
    sitemaps: Vec<String>,
}

#[derive(Default)]
struct Group {
    seen: bool,
    rules: Vec<Rule>,
    crawl_delay: Option<f64>,
}

impl Reader<'_> {
    fn rule(&mut self, allow: bool, pattern: &str, line: u32) {
        self.rules_began = true;
        // A group for both the crawler and everyone counts as the crawler's own.
        let group = if self.is_named {
            &mut self.named
        } else if self.is_everybody {
            &mut self.everybody
        } else {
            return;
        };
        if !pattern.is_empty() {
            group.rules.push(Rule {
                allow,
                pattern: upper(pattern),
                line,
            });
        }
    }
}

/// Returns the product token of a user agent: `CairnBot` of `CairnBot/0.1`.
fn product(agent: &str) -> &str {
    let end = agent.find(|c: char| !(c.is_ascii_alphabetic() || c == '-' || c == '_'));
    &agent[..end.unwrap_or(agent.len())]
}

impl RobotsParseHandler for Reader<'_> {
    fn handle_robots_start(&mut self) {}

    fn handle_robots_end(&mut self) {}

    fn handle_user_agent(&mut self, _: u32, agent: &str) {
        if self.rules_began {
            (self.is_named, self.is_everybody, self.rules_began) = (false, false, false);
        }
        let after_star = agent.strip_prefix('*');
        if after_star.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            self.is_everybody = true;
            self.everybody.seen = true;
        } else if product(agent).eq_ignore_ascii_case(self.token) {
            self.is_named = true;
            self.named.seen = true;
        }
    }

    fn handle_allow(&mut self, line: u32, pattern: &str) {
        self.rule(true, pattern, line);
    }

    fn handle_disallow(&mut self, line: u32, pattern: &str) {
        self.rule(false, pattern, line);
    }

    fn handle_sitemap(&mut self, _: u32, address: &str) {
        self.sitemaps.push(address.to_owned());
    }

    fn handle_unknown_action(&mut self, _: u32, action: &str, value: &str) {
        if action.eq_ignore_ascii_case("crawl-delay") {
            let seconds = value
                .parse::<f64>()
                .ok()
                .filter(|s| s.is_finite() && *s >= 0.0);
            let group = if self.is_named {
                &mut self.named
            } else if self.is_everybody {
                &mut self.everybody
            } else {
                return;
            };
            group.crawl_delay = seconds.or(group.crawl_delay);
        }
    }
}

impl Robots {
    /// Parses a robots.txt for the crawler with a product token such as `CairnBot`. Never fails: invalid lines are skipped.
    #[must_use]
    pub fn parse(body: &[u8], token: &str) -> Self {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let text = String::from_utf8_lossy(&body[..body.len().min(LIMIT)]);
        let mut reader = Reader {
            token,
            ..Reader::default()
        };
        parse_robotstxt(&text, &mut reader);
        let group = if reader.named.seen {
            reader.named
        } else {
            reader.everybody
        };
        Self {
            rules: group.rules,
            crawl_delay: group.crawl_delay,
            sitemaps: reader.sitemaps,
        }
    }

    /// Returns the line that forbids a path with its query (percent-encoded), as `Disallow: /private/ (line 3)`; `None` when it is allowed. The longest pattern
    /// wins, and of equally long ones the allowing one.
    #[must_use]
    pub fn forbids(&self, path: &str) -> Option<String> {
        let (written, plain) = (upper(path), unescaped(path));
        let strongest = self
            .rules
            .iter()
            .filter_map(|rule| {
                Some((
                    rule.strength(&written).max(rule.strength(&plain))?,
                    rule.allow,
                    rule,
                ))
            })
            .max_by_key(|(strength, allow, _)| (*strength, *allow))?;
        let (_, allow, rule) = strongest;
        (!allow).then(|| format!("Disallow: {} (line {})", rule.pattern, rule.line))
    }
}

impl Rule {
    /// Returns the length of the pattern if it matches.
    fn strength(&self, path: &str) -> Option<usize> {
        if matches(path, &self.pattern) {
            return Some(self.pattern.len());
        }
        // As Google does: allowing a folder's index page allows the folder.
        let (folder, file) = self.pattern.rsplit_once('/')?;
        let index = self.allow && file.starts_with("index.htm") && path == format!("{folder}/");
        index.then(|| folder.len() + 2)
    }
}

/// Returns a path with upper-case hex digits in its percent-escapes, which is equivalent.
fn upper(text: &str) -> String {
    escapes(text, |_| false)
}

/// Returns a path without unnecessary percent-escapes. It is matched in addition to the original one: RFC 9309, 2.2.2, requires patterns to be unescaped too,
/// which Google's parser and its tests do not do; a path forbidden in either form is not fetched.
fn unescaped(text: &str) -> String {
    escapes(text, |byte| {
        byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
    })
}

/// Rewrites percent-escapes: those for which `needless` holds are decoded, the others get upper-case digits.
fn escapes(text: &str, needless: impl Fn(u8) -> bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|d| std::str::from_utf8(d).ok());
        let value = digits
            .filter(|_| bytes[at] == b'%')
            .and_then(|d| u8::from_str_radix(d, 16).ok());
        at += match value {
            Some(byte) if needless(byte) => {
                out.push(byte);
                3
            }
            Some(byte) => {
                out.extend(format!("%{byte:02X}").bytes());
                3
            }
            None => {
                out.push(bytes[at]);
                1
            }
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns whether a pattern with `*` and a trailing `$` matches a prefix of a path. Greedy from the left, so linear in the length of the path for each part.
fn matches(path: &str, pattern: &str) -> bool {
    let (pattern, whole) = match pattern.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return !whole || rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() && whole {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden(text: &str, path: &str) -> Option<String> {
        Robots::parse(text.as_bytes(), "CairnBot").forbids(path)
    }

    #[test]
    fn the_longest_match_decides_and_is_quoted() {
        let text = "User-agent: *\nDisallow: /docs/\nAllow: /docs/public/\nDisallow: /*.pdf$\n";
        assert_eq!(
            forbidden(text, "/docs/secret").as_deref(),
            Some("Disallow: /docs/ (line 2)")
        );
        assert_eq!(forbidden(text, "/docs/public/a"), None);
        assert_eq!(
            forbidden(text, "/x/y.pdf").as_deref(),
            Some("Disallow: /*.pdf$ (line 4)")
        );
        assert_eq!(forbidden(text, "/x/y.pdf?download"), None);
        assert_eq!(
            forbidden("User-agent: *\nDisallow: /a\nAllow: /a\n", "/a"),
            None
        );
    }

    #[test]
    fn the_own_group_replaces_that_for_everybody() {
        let text = "User-agent: *\nDisallow: /\nCrawl-delay: 9\n\nuser-agent: other\nuser-agent: cairnbot/2.0\nSitemap: https://a.test/s.xml\nDisallow: /b\nCrawl-delay: 2\n";
        let robots = Robots::parse(text.as_bytes(), "CairnBot");
        assert_eq!(robots.forbids("/a"), None);
        assert!(robots.forbids("/b/c").is_some());
        assert_eq!(robots.crawl_delay, Some(2.0));
        assert_eq!(robots.sitemaps, ["https://a.test/s.xml"]);
    }

    #[test]
    fn other_lines_do_not_divide_a_group() {
        let text = "User-agent: CairnBot\nSitemap: https://a.test/s.xml\nUnknown: x\nUser-agent: *\nDisallow: /\n";
        assert!(forbidden(text, "/").is_some());
    }

    #[test]
    fn escapes_have_one_spelling() {
        let text = "User-agent: *\nDisallow: /caf%c3%a9\nDisallow: /~bob/\nDisallow: /\u{fc}ber\n";
        for path in [
            "/caf%C3%A9",
            "/caf%c3%a9/menu",
            "/%7Ebob/",
            "/~bob/x",
            "/%c3%bcber",
        ] {
            assert!(forbidden(text, path).is_some(), "{path}");
        }
        assert_eq!(forbidden(text, "/caf%2Fe"), None);
    }

    #[test]
    fn hostile_files_are_read_in_reasonable_time() {
        let stars = format!("User-agent: *\nDisallow: /{}b\n", "*a".repeat(8000));
        assert_eq!(forbidden(&stars, &format!("/{}", "a".repeat(2000))), None);
        let huge = "Disallow: /x\n".repeat(200_000);
        assert_eq!(
            forbidden(&format!("User-agent: *\n{huge}Disallow: /late\n"), "/late"),
            None
        );
    }

    /// The cases of Google's own tests, if available: `CAIRN_TEST_ROBOTS=…/cases.json`.
    #[test]
    fn cases_of_googles_parser_agree() {
        let Some(file) = std::env::var_os("CAIRN_TEST_ROBOTS") else {
            return;
        };
        let cases: Vec<serde_json::Value> =
            serde_json::from_slice(&std::fs::read(file).expect("readable")).expect("JSON");
        let mut wrong = Vec::new();
        for case in &cases {
            let text = |name: &str| case[name].as_str().unwrap_or_default();
            let path = robotstxt::get_path_params_query(text("url"));
            let robots = Robots::parse(text("robots_txt").as_bytes(), text("user_agent"));
            if case["allowed"] != robots.forbids(&path).is_none() {
                wrong.push(case);
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {} differ: {wrong:#?}",
            wrong.len(),
            cases.len()
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_fail(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400), path in "/[a-z*$%/]{0,20}") {
            let _ = Robots::parse(&body, "CairnBot").forbids(&path);
        }

        #[test]
        fn lines_of_any_text_are_read(body in "(?s)(user-agent: \\*\n|disallow: .{0,30}\n|allow: .{0,30}\n|.{0,40}\r?\n){0,12}", path in "/.{0,20}") {
            let _ = Robots::parse(body.as_bytes(), "CairnBot").forbids(&path);
        }
    }
}
