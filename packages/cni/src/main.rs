//! Waits, at the end of a chain of CNI plug-ins, until the policy of a pod is in force at its interface.

mod answer;
mod arguments;
mod chain;
mod daemon;
mod inotify;
mod install;
mod json;
mod known;
mod netns_id;
mod network;
mod plugin;

use std::process::ExitCode;

const HELP: &str = "\
bpfleet-cni: a chained CNI plug-in. Container runtimes start it with CNI_COMMAND; people do so with

  bpfleet-cni install --conf-dir DIR --bin-dir DIR [--watch] [SETTINGS]
  bpfleet-cni uninstall --conf-dir DIR --bin-dir DIR [--keep-binary]

Settings, written into the network configuration:
  --socket PATH            where the daemon listens (/run/bpfd/bpfleet-cni.sock)
  --known PATH             which pods policies select, for when it does not answer (/var/lib/bpfleet/cni-known)
  --timeout-ms NUMBER      how long a pod waits at most (2000)
  --failure-policy POLICY  what does not start then: selected, never, always
";

fn main() -> ExitCode {
    if std::env::var_os("CNI_COMMAND").is_some() {
        return plugin::run();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    match arguments::parse(&words) {
        Ok(arguments::Task::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(arguments::Task::Install(task)) => end(install::install(&task)),
        Ok(arguments::Task::Uninstall(task)) => end(install::uninstall(&task)),
        Err(mistake) => {
            eprintln!("error: {mistake}");
            ExitCode::from(2)
        }
    }
}

fn end(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
