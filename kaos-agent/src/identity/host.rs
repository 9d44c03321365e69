//! The host of a URL, and what it is called from elsewhere.

use std::net::IpAddr;

use crate::capture::event::Surroundings;

/// The host of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host<'a> {
    Address(IpAddr),
    /// `localhost`, which is an address of the loopback.
    Local,
    Name(&'a str),
}

impl<'a> Host<'a> {
    /// With the brackets that an IPv6 address has in a URL, or without.
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.trim_start_matches('[').trim_end_matches(']');
        match text.parse::<IpAddr>() {
            Ok(address) => Self::Address(address.to_canonical()),
            Err(_) if text.eq_ignore_ascii_case("localhost") => Self::Local,
            Err(_) => Self::Name(text),
        }
    }

    /// Whether who connects to it comes to itself.
    pub(super) fn is_loopback(self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback() || address.is_unspecified(),
            Self::Local => true,
            Self::Name(_) => false,
        }
    }

    /// What the agent has to call it so that it is the one that a process with these surroundings
    /// means; `None` where it is the same for both.
    ///
    /// In a pod's own network the loopback is the pod's, and names without a dot are looked for in
    /// its own namespace first.
    ///
    /// # Errors
    /// It is the process's own pod, whose address is not certain.
    pub(super) fn within(self, around: &Surroundings) -> Result<Option<String>, &'static str> {
        if self.is_loopback() {
            return around.addresses.as_deref().map(own_address).transpose();
        }
        let domain = around.search_domain.as_ref();
        Ok(match self {
            Self::Name(name) if !name.contains('.') => {
                domain.map(|domain| format!("{name}.{domain}"))
            }
            _ => None,
        })
    }
}

/// The address of a pod, as it stands in a URL: the only one of its kind, IPv4 first.
fn own_address(addresses: &[IpAddr]) -> Result<String, &'static str> {
    let of_kind = |is_ipv4: bool| {
        let mut of_kind = addresses.iter().filter(|it| it.is_ipv4() == is_ipv4);
        (of_kind.next(), of_kind.next())
    };
    match (of_kind(true), of_kind(false)) {
        ((Some(only), None), _) => Ok(only.to_string()),
        ((None, _), (Some(only), None)) => Ok(format!("[{only}]")),
        _ => Err(
            "it names the pod itself, which has several addresses or none; \
                  name the collector by a Service",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a host is called from outside of a pod with these addresses of its own.
    fn called(host: &str, addresses: Option<&[&str]>) -> Result<Option<String>, &'static str> {
        let parsed = |list: &[&str]| {
            let list = list.iter();
            list.map(|it| it.parse().expect("an address")).collect()
        };
        let around = Surroundings {
            addresses: addresses.map(parsed),
            search_domain: Some("team.svc.cluster.local".to_owned()),
            ..Surroundings::default()
        };
        Host::of(host).within(&around)
    }

    #[test]
    fn the_loopback_of_a_pod_is_its_address() {
        let both = Some(&["10.244.0.7", "fd00::7"][..]);
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.8.8.8",
            "[::1]",
            "0.0.0.0",
            "[::]",
        ] {
            assert_eq!(
                called(host, both),
                Ok(Some("10.244.0.7".to_owned())),
                "{host}"
            );
        }
        let only_ipv6 = called("localhost", Some(&["fd00::7"]));
        assert_eq!(only_ipv6, Ok(Some("[fd00::7]".to_owned())));
    }

    #[test]
    fn that_of_the_node_stays_what_it_is() {
        assert_eq!(called("localhost", None), Ok(None));
        assert_eq!(called("127.0.0.1", None), Ok(None));
    }

    #[test]
    fn one_that_may_be_any_of_several_addresses_is_an_error() {
        for addresses in [&[] as &[_], &["10.244.0.7", "192.168.7.7", "fd00::7"]] {
            let problem = called("localhost", Some(addresses)).expect_err("it is not certain");
            assert!(problem.contains("by a Service"), "{problem}");
        }
    }

    #[test]
    fn names_without_a_dot_are_those_of_the_namespace() {
        let own = Some(&["10.244.0.7"][..]);
        let name = "collector.team.svc.cluster.local".to_owned();
        assert_eq!(called("collector", own), Ok(Some(name.clone())));
        assert_eq!(called("collector", None), Ok(Some(name)));
        for host in ["collector.other", "collector.", "10.96.0.9", "[fd00::9]"] {
            assert_eq!(called(host, own), Ok(None), "{host}");
        }
        let unknown = Host::of("collector").within(&Surroundings::default());
        assert_eq!(unknown, Ok(None));
    }
}
