//! What people ask for.

use std::path::PathBuf;

use crate::chain::PLUGIN;
use crate::json::quote;
use crate::network::{FailurePolicy, KNOWN, SOCKET, TIMEOUT_MS};

#[derive(Debug)]
pub enum Task {
    Help,
    Install(Install),
    Uninstall(Uninstall),
}

#[derive(Debug)]
pub struct Install {
    pub conf_dir: PathBuf,
    pub bin_dir: PathBuf,
    /// Goes on putting the plug-in back where others take it out.
    pub watch: bool,
    /// Of the network configuration.
    pub entry: String,
}

#[derive(Debug)]
pub struct Uninstall {
    pub conf_dir: PathBuf,
    pub bin_dir: PathBuf,
    pub keep_binary: bool,
}

pub fn parse(words: &[String]) -> Result<Task, String> {
    let Some((command, rest)) = words.split_first() else { return Ok(Task::Help) };
    let given = Flags::read(rest)?;
    match command.as_str() {
        "help" | "-h" | "--help" => Ok(Task::Help),
        "install" => {
            given.only(&["conf-dir", "bin-dir", "watch", "socket", "known", "timeout-ms", "failure-policy"])?;
            Ok(Task::Install(Install {
                conf_dir: given.path("conf-dir")?,
                bin_dir: given.path("bin-dir")?,
                watch: given.has("watch"),
                entry: given.entry()?,
            }))
        }
        "uninstall" => {
            given.only(&["conf-dir", "bin-dir", "keep-binary"])?;
            Ok(Task::Uninstall(Uninstall {
                conf_dir: given.path("conf-dir")?,
                bin_dir: given.path("bin-dir")?,
                keep_binary: given.has("keep-binary"),
            }))
        }
        other => Err(format!("unknown command {other}; give install or uninstall")),
    }
}

struct Flags(Vec<(String, String)>);

impl Flags {
    fn read(words: &[String]) -> Result<Self, String> {
        let mut flags = Vec::new();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let name = word.strip_prefix("--").ok_or(format!("unknown word {word}"))?;
            let value = match name {
                "watch" | "keep-binary" => String::new(),
                _ => rest.next().ok_or(format!("--{name} has no value"))?.clone(),
            };
            flags.push((name.to_owned(), value));
        }
        Ok(Self(flags))
    }

    fn only(&self, names: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            Some((name, _)) => Err(format!("unknown flag --{name}")),
            None => Ok(()),
        }
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn path(&self, name: &str) -> Result<PathBuf, String> {
        self.find(name).map(PathBuf::from).ok_or(format!("--{name} is not given"))
    }

    fn entry(&self) -> Result<String, String> {
        let timeout_ms = match self.find("timeout-ms") {
            None => TIMEOUT_MS,
            Some(text) => text.parse().ok().filter(|ms| (1..=60_000).contains(ms)).ok_or("--timeout-ms: give 1 to 60000")?,
        };
        let policy = self.find("failure-policy").unwrap_or("selected");
        FailurePolicy::parse(policy).ok_or("--failure-policy: give selected, never or always")?;
        Ok(format!(
            "{{\"type\":{},\"socket\":{},\"known\":{},\"timeoutMs\":{timeout_ms},\"failurePolicy\":{}}}",
            quote(PLUGIN),
            quote(self.find("socket").unwrap_or(SOCKET)),
            quote(self.find("known").unwrap_or(KNOWN)),
            quote(policy)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn parse_writes_the_entry_that_the_plugin_reads() {
        let task = parse(&words("install --conf-dir /c --bin-dir /b --watch --timeout-ms 500 --failure-policy always")).unwrap();
        let Task::Install(install) = task else { panic!("{task:?}") };
        assert!(install.watch);
        let network = crate::network::read(&install.entry).unwrap();
        assert_eq!(network.timeout.as_millis(), 500);
        assert_eq!(network.failure_policy, FailurePolicy::Always);
    }

    #[test]
    fn parse_names_mistakes() {
        for text in [
            "remove",
            "install",
            "install --conf-dir /c",
            "install --conf-dir",
            "install --conf-dir /c --bin-dir /b --failure-policy open",
            "install --conf-dir /c --bin-dir /b --timeout-ms 0",
            "uninstall --conf-dir /c --bin-dir /b --watch",
            "install conf",
        ] {
            assert!(parse(&words(text)).is_err(), "{text}");
        }
    }
}
