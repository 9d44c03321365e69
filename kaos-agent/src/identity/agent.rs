//! What a process's environment says about the agent that it runs, as KAOS's operator sets it.

use std::net::{IpAddr, SocketAddr};

use http::Uri;

use super::variables::Variables;

/// Servers or peers of one agent: far more than any has; bounds what a hostile environment costs.
const MAX_DESTINATIONS: usize = 64;

/// An agent, as it is set up. All is open in a process that is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentSettings {
    /// `AGENT_NAME`
    pub name: Option<String>,
    /// `AGENTIC_LOOP_MAX_STEPS`
    pub max_steps: Option<u64>,
    /// `MODEL_NAME`
    pub model: Option<String>,
    /// `MODEL_API_URL`
    pub model_api: Option<Authority>,
    /// `MCP_SERVER_<name>_URL`
    pub mcp_servers: Vec<(String, Authority)>,
    /// `PEER_AGENT_<NAME>_CARD_URL`, named as in `PEER_AGENTS`.
    pub peers: Vec<(String, Authority)>,
}

/// Host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// In lower case, without brackets.
    pub host: String,
    /// The scheme's own where the URL has none.
    pub port: u16,
}

impl AgentSettings {
    pub(super) fn read(variables: &mut Variables<'_>) -> Self {
        let text = |variables: &mut Variables<'_>, name| variables.text(name).map(str::to_owned);
        let peer_names = text(variables, "PEER_AGENTS").unwrap_or_default();
        let peer_name = |variable: &str| {
            let mut names = peer_names.split(',').map(str::trim);
            let named = names.find(|name| name.to_uppercase().replace('-', "_") == variable);
            named.map_or_else(|| variable.to_lowercase().replace('_', "-"), str::to_owned)
        };
        let peers = destinations(variables, "PEER_AGENT_", "_CARD_URL");
        Self {
            name: text(variables, "AGENT_NAME"),
            max_steps: variables.number("AGENTIC_LOOP_MAX_STEPS", 1..=1_000_000),
            model: text(variables, "MODEL_NAME"),
            model_api: variables.text("MODEL_API_URL").and_then(Authority::of_url),
            mcp_servers: destinations(variables, "MCP_SERVER_", "_URL"),
            peers: peers
                .into_iter()
                .map(|(variable, authority)| (peer_name(&variable), authority))
                .collect(),
        }
    }
}

/// URLs of the variables with this beginning and end, by what stands between.
fn destinations(variables: &Variables<'_>, prefix: &str, suffix: &str) -> Vec<(String, Authority)> {
    variables
        .named_like(prefix, suffix)
        .filter_map(|(name, url)| Some((name.to_owned(), Authority::of_url(url)?)))
        .take(MAX_DESTINATIONS)
        .collect()
}

impl Authority {
    /// Of an `http` or `https` URL.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let own_port = match uri.scheme_str()? {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        Some(Self {
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(own_port),
        })
    }

    /// Is this the address that the URL names? Where it has a name instead, only `localhost` can be
    /// told.
    #[must_use]
    pub fn is_at(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let is_host = match self.host.parse::<IpAddr>() {
            Ok(host) => host.to_canonical() == ip,
            Err(_) => self.host == "localhost" && ip.is_loopback(),
        };
        is_host && self.port == address.port()
    }

    /// Is this what the URL names?
    #[must_use]
    pub fn is_named(&self, host: &str, port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(host) && port == Some(self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> AgentSettings {
        let mut owned: Vec<_> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        owned.sort();
        let mut warnings = Vec::new();
        let settings = AgentSettings::read(&mut Variables::new(Some(1), &owned, &mut warnings));
        assert!(warnings.is_empty());
        settings
    }

    fn at(host: &str, port: u16) -> Authority {
        Authority {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn what_the_operator_sets() {
        let settings = read(&[
            ("AGENT_NAME", "supervisor"),
            ("AGENTIC_LOOP_MAX_STEPS", "5"),
            ("MODEL_NAME", "openai/gpt"),
            (
                "MODEL_API_URL",
                "http://modelapi-x.ns.svc.cluster.local:8000",
            ),
            ("MCP_SERVERS", "calc,Web-Search"),
            ("MCP_SERVER_calc_URL", "http://mcpserver-calc:8000/mcp"),
            ("MCP_SERVER_Web-Search_URL", "https://search/mcp"),
            ("PEER_AGENTS", "researcher,Fact-Checker"),
            ("PEER_AGENT_FACT_CHECKER_CARD_URL", "http://[fd00::1]:80"),
            ("PEER_AGENT_SOME_ONE_CARD_URL", "http://127.0.0.1:9000/"),
        ]);
        assert_eq!(
            settings,
            AgentSettings {
                name: Some("supervisor".to_owned()),
                max_steps: Some(5),
                model: Some("openai/gpt".to_owned()),
                model_api: Some(at("modelapi-x.ns.svc.cluster.local", 8000)),
                mcp_servers: vec![
                    ("Web-Search".to_owned(), at("search", 443)),
                    ("calc".to_owned(), at("mcpserver-calc", 8000)),
                ],
                peers: vec![
                    ("Fact-Checker".to_owned(), at("fd00::1", 80)),
                    ("some-one".to_owned(), at("127.0.0.1", 9000)),
                ],
            }
        );
    }

    #[test]
    fn nothing_and_nonsense() {
        assert_eq!(read(&[]), AgentSettings::default());
        let nonsense = read(&[
            ("MODEL_API_URL", "modelapi"),
            ("MCP_SERVER_a_URL", "unix:///run/a"),
            ("PEER_AGENT_B_CARD_URL", "http://"),
        ]);
        assert_eq!(nonsense, AgentSettings::default());
    }

    #[test]
    fn addresses_and_names() {
        let is_at =
            |host: &str, address: &str| at(host, 80).is_at(address.parse().expect("an address"));
        assert!(is_at("127.0.0.1", "127.0.0.1:80"));
        assert!(is_at("127.0.0.1", "[::ffff:127.0.0.1]:80"));
        assert!(is_at("localhost", "[::1]:80"));
        assert!(!is_at("127.0.0.1", "127.0.0.1:81"));
        assert!(!is_at("calc", "127.0.0.1:80"));
        assert!(at("calc", 80).is_named("Calc", Some(80)));
        assert!(!at("calc", 80).is_named("calc", Some(8000)));
    }
}
