//! The models that agents may use, with adapter and price of each, from the configuration.

use super::{Address, Endpoint, Protocol, Usage};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};

/// Price of a model in US dollars per million tokens, which is millionths of a dollar per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Per million tokens of the prompt.
    pub input: f64,
    /// Per million tokens of the response.
    pub output: f64,
}

impl Price {
    /// Returns the cost of some tokens in millionths of a dollar, rounded up.
    #[must_use]
    pub fn cost(self, usage: Usage) -> i64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "token counts are far below 2^52"
        )]
        let exact =
            usage.input_tokens as f64 * self.input + usage.output_tokens as f64 * self.output;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast of a float saturates"
        )]
        let cost = exact.ceil() as i64;
        cost
    }
}

/// A model of the catalog.
#[derive(Debug, Clone)]
pub struct Listed {
    /// `claude`, `openai` or `ollama`.
    pub adapter: &'static str,
    /// Where the model is served; absent when the endpoint lacks an API key that it certainly needs.
    pub endpoint: Endpoint,
    /// `None` when the configuration does not state it.
    pub price: Option<Price>,
    /// Whether an API key is configured, or none is needed.
    pub has_key: bool,
}

/// The models that agents may use; the first is the default.
#[derive(Debug, Default)]
pub struct Catalog {
    models: Vec<Listed>,
}

fn invalid(entry: &str, problem: &str) -> Error {
    Error::invalid(
        "config_invalid",
        format!(
            "agent_models: {entry:?} {problem}; an entry is adapter/model=input/output, such as openai/gpt-4o=2.5/10"
        ),
    )
}

fn price(entry: &str, text: &str) -> Result<Price> {
    let number = |text: &str| {
        let number: Option<f64> = text.trim().parse().ok();
        number
            .filter(|n| (0.0..=1e6).contains(n))
            .ok_or_else(|| invalid(entry, "has an invalid price"))
    };
    let (input, output) = text
        .split_once('/')
        .ok_or_else(|| invalid(entry, "has only one price"))?;
    Ok(Price {
        input: number(input)?,
        output: number(output)?,
    })
}

impl Catalog {
    /// Reads the configured models. Without any, `answers`, the model that answers questions, is the only one.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn of(config: &Config, clock: &Clock, answers: Option<&Endpoint>) -> Result<Self> {
        let mut models = Vec::new();
        let entries = config.agent_models.split(',').map(str::trim);
        for entry in entries.filter(|e| !e.is_empty()) {
            let (model, stated) = match entry.rsplit_once('=') {
                Some((model, prices)) => (model.trim(), Some(price(entry, prices)?)),
                None => (entry, None),
            };
            let (adapter, name) = model
                .split_once('/')
                .filter(|(_, name)| !name.is_empty())
                .ok_or_else(|| invalid(entry, "has no adapter"))?;
            let (adapter, protocol, url, key) = match adapter {
                "claude" => (
                    "claude",
                    Protocol::Anthropic,
                    &config.agent_claude_url,
                    &config.agent_claude_key,
                ),
                "openai" => (
                    "openai",
                    Protocol::OpenAi,
                    &config.agent_openai_url,
                    &config.agent_openai_key,
                ),
                "ollama" => (
                    "ollama",
                    Protocol::Ollama,
                    &config.agent_ollama_url,
                    &String::new(),
                ),
                _ => return Err(invalid(entry, "has an unknown adapter")),
            };
            let free = Price {
                input: 0.0,
                output: 0.0,
            };
            let address = Address {
                protocol,
                url: url.trim_end_matches('/').to_owned(),
                key: key.clone(),
            };
            models.push(Listed {
                adapter,
                endpoint: Endpoint::new(clock, address, name, config.agent_max_tokens)?,
                price: stated.or((protocol == Protocol::Ollama).then_some(free)),
                has_key: protocol == Protocol::Ollama || !key.is_empty(),
            });
        }
        if let (true, Some(endpoint)) = (models.is_empty(), answers) {
            models.push(Listed {
                adapter: endpoint.address.protocol.adapter(),
                endpoint: endpoint.clone(),
                price: None,
                has_key: true,
            });
        }
        Ok(Self { models })
    }

    /// Returns a model by its name, with or without its adapter before a slash; the default one for `None`.
    #[must_use]
    pub fn get(&self, name: Option<&str>) -> Option<&Listed> {
        let Some(name) = name else {
            return self.models.first();
        };
        let is_named = |model: &&Listed| {
            let own = model.endpoint.model();
            own == name
                || name
                    .strip_prefix(model.adapter)
                    .and_then(|rest| rest.strip_prefix('/'))
                    == Some(own)
        };
        self.models.iter().find(is_named)
    }

    /// Returns the names of all models.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.models.iter().map(|m| m.endpoint.model()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(agent_models: &str) -> Result<Catalog> {
        let config = Config {
            agent_models: agent_models.to_owned(),
            ..Config::default()
        };
        Catalog::of(&config, &Clock::system(), None)
    }

    #[test]
    fn entries_name_adapter_model_and_prices() {
        let catalog =
            catalog("openai/org/model-1=2.5/10, ollama/llama3.2:3b").expect("valid entries");
        assert_eq!(catalog.names(), ["org/model-1", "llama3.2:3b"]);
        let first = catalog.get(None).expect("a default");
        let usage = Usage {
            input_tokens: 1000,
            output_tokens: 100,
        };
        assert_eq!(first.price.map(|p| p.cost(usage)), Some(3500));
        let local = catalog.get(Some("ollama/llama3.2:3b")).expect("by adapter");
        assert_eq!((local.adapter, local.has_key), ("ollama", true));
        assert_eq!(local.price.map(|p| p.cost(usage)), Some(0));
        assert!(catalog.get(Some("gpt")).is_none());
    }

    #[test]
    fn invalid_entries_are_refused() {
        for entry in [
            "gpt-4o",
            "azure/gpt",
            "openai/",
            "openai/a=1",
            "openai/a=-1/2",
        ] {
            let error = catalog(entry).expect_err(entry);
            assert_eq!(error.code(), "config_invalid", "{entry}");
        }
    }

    #[test]
    fn costs_are_rounded_up() {
        let price = Price {
            input: 0.1,
            output: 0.0,
        };
        let usage = Usage {
            input_tokens: 1,
            output_tokens: 5,
        };
        assert_eq!(price.cost(usage), 1);
    }
}
