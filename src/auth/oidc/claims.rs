//! Claims of a token about its person.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Longest name and address that are taken over, in characters.
const LONGEST: usize = 200;
/// Groups that are looked at.
const MOST_GROUPS: usize = 1000;

/// What a provider says of a person: the claims of a token, with those of the userinfo endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    pub iss: String,
    pub sub: String,
    /// End of the token, in seconds since 1970.
    pub exp: i64,
    email: Option<String>,
    email_address: Option<String>,
    primary_email_address: Option<String>,
    email_addresses: Vec<Value>,
    #[serde(deserialize_with = "flag")]
    email_verified: Option<bool>,
    name: Option<String>,
    full_name: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
    preferred_username: Option<String>,
    /// The random value that a sign-in gave to the provider.
    pub nonce: Option<String>,
    /// Client that a token with several audiences was made for.
    pub azp: Option<String>,
    /// Whether the userinfo endpoint was asked, too.
    #[serde(skip)]
    pub is_complete: bool,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Reads a truth value, which some providers send as text.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| match value.as_str() {
        // What is neither is not a confirmation.
        Some(text) => Some(text.eq_ignore_ascii_case("true")),
        None => value.as_bool(),
    }))
}

fn short(text: &str) -> Option<String> {
    let text: String = text
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    (!text.is_empty()).then_some(text)
}

impl Claims {
    /// Returns the mail address, in lower case, unless the provider says that it is not verified.
    pub fn address(&self) -> Option<String> {
        if self.email_verified == Some(false) {
            return None;
        }
        let listed = self
            .email_addresses
            .iter()
            .filter_map(|entry| entry.as_str().or_else(|| entry["email_address"].as_str()));
        let single = [
            &self.email,
            &self.email_address,
            &self.primary_email_address,
        ];
        let mut all = single
            .into_iter()
            .flatten()
            .map(String::as_str)
            .chain(listed);
        all.find(|a| a.contains('@'))
            .and_then(short)
            .map(|a| a.to_lowercase())
    }

    pub fn full_name(&self) -> Option<String> {
        let joined = [&self.given_name, &self.family_name];
        let joined: Vec<&str> = joined.into_iter().flatten().map(String::as_str).collect();
        let joined = joined.join(" ");
        let names = [
            self.name.as_deref(),
            self.full_name.as_deref(),
            Some(&joined),
            self.preferred_username.as_deref(),
        ];
        names.into_iter().flatten().find_map(short)
    }

    /// Returns the groups in a claim: a list of texts, or one text. A name with dots leads into objects, as `realm_access.roles` of Keycloak does.
    pub fn groups(&self, claim: &str) -> Option<Vec<&str>> {
        let value = self.others.get(claim).or_else(|| {
            let (first, rest) = claim.split_once('.')?;
            let first = self.others.get(first)?;
            rest.split('.')
                .try_fold(first, |value, name| value.get(name))
        })?;
        match value {
            Value::String(one) => Some(vec![one]),
            Value::Array(all) => Some(
                all.iter()
                    .take(MOST_GROUPS)
                    .filter_map(Value::as_str)
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }

    /// Returns whether the provider left out the groups because there are too many, as Entra ID does (`_claim_names`, `hasgroups`).
    pub fn lacks_groups(&self, claim: &str) -> bool {
        let named = self.others.get("_claim_names");
        let elsewhere = named.is_some_and(|names| names.get(claim).is_some());
        let hinted = self.others.get("hasgroups").and_then(Value::as_bool);
        self.groups(claim).is_none() && (elsewhere || hinted == Some(true))
    }

    /// Returns whether the token lacks what a sign-in needs: a name, an address, or the groups in `claim`.
    pub fn is_incomplete(&self, claim: Option<&str>) -> bool {
        self.full_name().is_none()
            || self.address().is_none()
            || claim.is_some_and(|claim| self.groups(claim).is_none())
    }

    /// Adds what the userinfo endpoint says of the same person, where the token says nothing.
    pub fn complete(&mut self, more: Self) {
        let Self {
            email,
            email_verified,
            name,
            given_name,
            family_name,
            preferred_username,
            others,
            ..
        } = more;
        self.is_complete = true;
        if self.email.is_none() {
            self.email = email;
            self.email_verified = email_verified;
        } else if self.email == email && self.email_verified.is_none() {
            self.email_verified = email_verified;
        }
        for (mine, more) in [
            (&mut self.name, name),
            (&mut self.given_name, given_name),
            (&mut self.family_name, family_name),
            (&mut self.preferred_username, preferred_username),
        ] {
            if mine.is_none() {
                *mine = more;
            }
        }
        for (name, value) in others {
            self.others.entry(name).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Claims {
        serde_json::from_str(json).expect("claims")
    }

    #[test]
    fn an_address_comes_from_any_of_the_claims_and_is_verified() {
        let listed = read(r#"{"email_addresses": [{"email_address": "A@x.test"}]}"#);
        assert_eq!(listed.address().as_deref(), Some("a@x.test"));
        let unverified = read(r#"{"email": "a@x.test", "email_verified": false}"#);
        assert_eq!(unverified.address(), None);
        let named = read(r#"{"given_name": "Ada", "family_name": "Holm"}"#);
        assert_eq!(named.full_name().as_deref(), Some("Ada Holm"));
    }

    #[test]
    fn groups_are_lists_texts_or_inside_of_objects() {
        let listed = read(r#"{"groups": ["a", "b", 3]}"#);
        assert_eq!(listed.groups("groups"), Some(vec!["a", "b"]));
        assert_eq!(read(r#"{"role": "a"}"#).groups("role"), Some(vec!["a"]));
        let inside = read(r#"{"realm_access": {"roles": ["a"]}}"#);
        assert_eq!(inside.groups("realm_access.roles"), Some(vec!["a"]));
        assert_eq!(inside.groups("realm_access.other"), None);
        let dotted = read(r#"{"https://x.test/groups": ["a"]}"#);
        assert_eq!(dotted.groups("https://x.test/groups"), Some(vec!["a"]));
    }

    #[test]
    fn verification_may_be_text_and_come_later() {
        let told = read(r#"{"email": "a@x.test", "email_verified": "true"}"#);
        assert_eq!(told.address().as_deref(), Some("a@x.test"));
        let denied = read(r#"{"email": "a@x.test", "email_verified": "false"}"#);
        assert_eq!(denied.address(), None);
        let mut later = read(r#"{"email": "a@x.test"}"#);
        later.complete(read(r#"{"email": "a@x.test", "email_verified": false}"#));
        assert_eq!(later.address(), None);
    }

    #[test]
    fn groups_that_were_left_out_are_not_none() {
        let many = read(r#"{"_claim_names": {"groups": "src1"}}"#);
        assert!(many.lacks_groups("groups") && !many.lacks_groups("roles"));
        assert!(read(r#"{"hasgroups": true}"#).lacks_groups("groups"));
        assert!(!read(r#"{"groups": []}"#).lacks_groups("groups"));
    }

    #[test]
    fn an_address_of_the_userinfo_endpoint_is_taken_with_its_verification() {
        let mut claims = read(r#"{"sub": "a"}"#);
        claims.complete(read(
            r#"{"email": "a@x.test", "email_verified": false, "name": "Ada"}"#,
        ));
        assert_eq!(claims.address(), None);
        assert_eq!(claims.full_name().as_deref(), Some("Ada"));
    }
}
