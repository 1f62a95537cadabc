//! The commands of the CNI specification.

use std::env;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::answer::{
    Failure, INCOMPATIBLE, NOT_AVAILABLE, NOT_JUDGED, TRY_AGAIN, UNREADABLE, WRONG_CONFIGURATION, WRONG_ENVIRONMENT, versions,
};
use crate::chain::VERSIONS;
use crate::daemon::{Answer, ask};
use crate::json::quote;
use crate::known::{Selection, look_up};
use crate::netns_id::number_of;
use crate::network::{FailurePolicy, Network, read};

/// Of questions whose answer decides nothing.
const SHORT: Duration = Duration::from_millis(500);
/// The daemon answers so much earlier, so that it can say why it is late.
const MARGIN: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, Default)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    /// Empty where the runtime does not tell it.
    pub uid: String,
}

pub fn run() -> ExitCode {
    let mut text = String::new();
    let input = std::io::stdin().read_to_string(&mut text);
    let version = read(&text).map_or_else(|_| "0.4.0".to_owned(), |network| network.version);
    let result = match input {
        Ok(_) => answer(&text),
        Err(error) => Err(Failure::new(UNREADABLE, "read the network configuration", error.to_string())),
    };
    let (output, code) = match result {
        Ok(output) => (output, ExitCode::SUCCESS),
        Err(failure) => (failure.render(&version), ExitCode::FAILURE),
    };
    match std::io::stdout().write_all(output.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer(text: &str) -> Result<String, Failure> {
    let command = variable("CNI_COMMAND");
    if command == "VERSION" {
        return Ok(versions());
    }
    let network = read(text).map_err(|why| {
        let code = if crate::json::parse(text).is_err() { UNREADABLE } else { WRONG_CONFIGURATION };
        Failure::new(code, "read the network configuration", why)
    })?;
    if !VERSIONS.contains(&network.version.as_str()) {
        let message = format!("serve CNI {}: it has no chains", network.version);
        return Err(Failure::new(INCOMPATIBLE, message, format!("set cniVersion to one of {}", VERSIONS.join(", "))));
    }
    match command.as_str() {
        "ADD" => add(&network),
        "CHECK" => check(&network),
        "DEL" | "GC" => {
            // Whatever comes of it: what is to go goes.
            let _ = ask(&network.socket, question(&command, &network, &pod(), SHORT), SHORT);
            Ok(String::new())
        }
        "STATUS" => status(&network),
        other => Err(Failure::new(WRONG_ENVIRONMENT, format!("serve CNI_COMMAND {other}"), "there is no such command")),
    }
}

fn add(network: &Network) -> Result<String, Failure> {
    let Some(previous) = &network.previous else {
        return Err(Failure::new(
            WRONG_CONFIGURATION,
            "find prevResult: there is none",
            "bpfleet-cni makes no interfaces; put it behind a plug-in that does",
        ));
    };
    let pod = pod();
    // Not of Kubernetes: no policy means it.
    if !pod.name.is_empty() {
        judge_add(network, &pod)?;
    }
    Ok(format!("{previous}\n"))
}

fn judge_add(network: &Network, pod: &Pod) -> Result<(), Failure> {
    let begun = Instant::now();
    let told = ask(&network.socket, question("ADD", network, pod, network.timeout.saturating_sub(MARGIN)), network.timeout);
    let name = format!("start pod {}/{}", pod.namespace, pod.name);
    let waited = || format!("{} ms were waited", begun.elapsed().as_millis());
    let open = network.failure_policy == FailurePolicy::Never;
    match told {
        Ok(Answer { is, .. }) if is == "in-force" || is == "free" || open => Ok(()),
        Ok(Answer { is, why }) if is == "late" => {
            Err(Failure::new(TRY_AGAIN, format!("{name}: its policy is not in force yet: {why}"), waited()))
        }
        Ok(Answer { is, why }) if is == "unjudged" => {
            Err(Failure::new(NOT_JUDGED, format!("{name}: its policy cannot be in force: {why}"), waited()))
        }
        Ok(Answer { why, .. }) | Err(why) => unanswered(network, pod, &name, &why, &waited()),
    }
}

/// Nobody says what holds of this pod.
fn unanswered(network: &Network, pod: &Pod, name: &str, why: &str, waited: &str) -> Result<(), Failure> {
    let who = match (network.failure_policy, look_up(&network.known, pod)) {
        (FailurePolicy::Never, _) | (FailurePolicy::Selected, Selection::Free | Selection::Unwritten) => return Ok(()),
        (_, Selection::Selected) => "a policy selects it",
        (FailurePolicy::Selected, Selection::Possible) => "policies select pods of its namespace, and it is not known yet",
        (FailurePolicy::Always, _) => "failurePolicy is always",
    };
    let details = format!("{waited}; where bpfleet has left the node for good, `bpfleet-cni uninstall` takes this plug-in out");
    Err(Failure::new(TRY_AGAIN, format!("{name}: {why}; {who}"), details))
}

fn check(network: &Network) -> Result<String, Failure> {
    let pod = pod();
    if pod.name.is_empty() || network.failure_policy == FailurePolicy::Never {
        return Ok(String::new());
    }
    match ask(&network.socket, question("CHECK", network, &pod, SHORT), SHORT) {
        Ok(Answer { is, why }) if is == "late" || is == "unjudged" => {
            let message = format!("check pod {}/{}: its policy is not in force: {why}", pod.namespace, pod.name);
            Err(Failure::new(TRY_AGAIN, message, ""))
        }
        // What is in force stays in force without the daemon.
        _ => Ok(String::new()),
    }
}

fn status(network: &Network) -> Result<String, Failure> {
    if network.failure_policy != FailurePolicy::Always {
        return Ok(String::new());
    }
    match ask(&network.socket, question("STATUS", network, &Pod::default(), SHORT), SHORT) {
        Ok(_) => Ok(String::new()),
        Err(why) => Err(Failure::new(NOT_AVAILABLE, why, "failurePolicy is always: no pod starts until it answers")),
    }
}

fn question(command: &str, network: &Network, pod: &Pod, timeout: Duration) -> String {
    let netns = variable("CNI_NETNS");
    let mut text = format!(
        "{{\"version\":1,\"command\":{},\"container\":{},\"ifname\":{},\"netns\":{},\"timeoutMs\":{},\"pod\":{{\"namespace\":{},\"name\":{},\"uid\":{}}}",
        quote(command),
        quote(&variable("CNI_CONTAINERID")),
        quote(&variable("CNI_IFNAME")),
        quote(&netns),
        timeout.as_millis(),
        quote(&pod.namespace),
        quote(&pod.name),
        quote(&pod.uid)
    );
    let is_about_one = command == "ADD" || command == "CHECK";
    if let Some(number) = is_about_one.then(|| number_of(&netns).ok()).flatten() {
        text.push_str(&format!(",\"netnsId\":{number}"));
    }
    for (name, value) in [("prevResult", &network.previous), ("valid", &network.valid)] {
        if let Some(value) = value {
            text.push_str(&format!(",{}:{value}", quote(name)));
        }
    }
    text.push_str("}\n");
    text
}

fn pod() -> Pod {
    read_arguments(&variable("CNI_ARGS"))
}

fn read_arguments(text: &str) -> Pod {
    let mut pod = Pod::default();
    for (name, value) in text.split(';').filter_map(|each| each.split_once('=')) {
        match name {
            "K8S_POD_NAMESPACE" => pod.namespace = value.to_owned(),
            "K8S_POD_NAME" => pod.name = value.to_owned(),
            "K8S_POD_UID" => pod.uid = value.to_owned(),
            _ => {}
        }
    }
    pod
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_arguments_takes_what_runtimes_tell_of_a_pod() {
        let pod = read_arguments(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u-1",
        );
        assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("shop", "web-0", "u-1"));
        assert!(read_arguments("").name.is_empty());
    }
}
