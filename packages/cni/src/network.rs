//! What a runtime hands to the plug-in: its entry of the network configuration, and what came before it in the chain.

use std::time::Duration;

use crate::json::{Node, parse};

pub const SOCKET: &str = "/run/bpfd/bpfleet-cni.sock";
pub const KNOWN: &str = "/var/lib/bpfleet/cni-known";
pub const TIMEOUT_MS: u64 = 2000;

/// Pods that do not start when nobody says that their policy is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    Selected,
    Never,
    Always,
}

impl FailurePolicy {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "selected" => Some(Self::Selected),
            "never" => Some(Self::Never),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub struct Network {
    pub version: String,
    pub socket: String,
    pub known: String,
    pub timeout: Duration,
    pub failure_policy: FailurePolicy,
    /// As the plug-in before wrote it.
    pub previous: Option<String>,
    /// Containers that are still there, of `GC`; as it is written.
    pub valid: Option<String>,
}

pub fn read(text: &str) -> Result<Network, String> {
    let node = parse(text)?;
    let raw = |name: &str| node.get(name).map(|each| text[each.at.clone()].to_owned());
    let failure_policy = match node.get("failurePolicy") {
        None => FailurePolicy::Selected,
        Some(given) => given.text().and_then(FailurePolicy::parse).ok_or("failurePolicy: give selected, never or always")?,
    };
    let timeout_ms = match node.get("timeoutMs") {
        None => TIMEOUT_MS,
        Some(given) => given.number().filter(|ms| (1..=60_000).contains(ms)).ok_or("timeoutMs: give 1 to 60000")?,
    };
    Ok(Network {
        version: node.text_of("cniVersion").unwrap_or("0.1.0").to_owned(),
        socket: text_or(&node, "socket", SOCKET)?,
        known: text_or(&node, "known", KNOWN)?,
        timeout: Duration::from_millis(timeout_ms),
        failure_policy,
        previous: raw("prevResult"),
        valid: raw("cni.dev/valid-attachments").or_else(|| raw("cni.dev/attachments")),
    })
}

fn text_or(node: &Node, name: &str, usual: &str) -> Result<String, String> {
    match node.get(name) {
        None => Ok(usual.to_owned()),
        Some(given) => given.text().map(str::to_owned).ok_or(format!("{name}: give a path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_keeps_the_previous_result_as_it_is_written() {
        let previous = "{ \"cniVersion\": \"1.0.0\",\n \"ips\": [], \"x\": 1.50 }";
        let network = read(&format!("{{\"cniVersion\":\"1.0.0\",\"type\":\"bpfleet-cni\",\"prevResult\":{previous}}}")).unwrap();
        assert_eq!(network.previous.as_deref(), Some(previous));
        assert_eq!(network.timeout, Duration::from_secs(2));
        assert_eq!(network.failure_policy, FailurePolicy::Selected);
        assert_eq!(network.socket, SOCKET);
    }

    #[test]
    fn read_refuses_settings_that_mean_nothing() {
        for text in [r#"{"failurePolicy":"open"}"#, r#"{"timeoutMs":0}"#, r#"{"timeoutMs":"2s"}"#, r#"{"socket":1}"#, "[", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
