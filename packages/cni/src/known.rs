//! What the daemon wrote down of who is selected, for when it does not answer:
//!
//!     bpfleet-cni 1
//!     pod NAMESPACE NAME UID selected
//!     pod NAMESPACE NAME - free
//!     reach NAMESPACE
//!
//! `reach *` is all namespaces: some policy may select pods there that nobody has seen yet.

use crate::plugin::Pod;

#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// Some policy selects the pod.
    Selected,
    /// The pod is not known, and some policy may select it.
    Possible,
    /// None does.
    Free,
    /// Nothing was written down.
    Unwritten,
}

pub fn look_up(path: &str, pod: &Pod) -> Selection {
    match std::fs::read_to_string(path) {
        Ok(text) => read(&text, pod),
        Err(_) => Selection::Unwritten,
    }
}

fn read(text: &str, pod: &Pod) -> Selection {
    let mut lines = text.lines();
    if lines.next() != Some("bpfleet-cni 1") {
        return Selection::Unwritten;
    }
    let mut is_possible = false;
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["pod", namespace, name, uid, selection]
                if namespace == pod.namespace && name == pod.name && (uid == "-" || pod.uid.is_empty() || uid == pod.uid) =>
            {
                return if selection == "free" { Selection::Free } else { Selection::Selected };
            }
            ["reach", namespace] => is_possible |= namespace == "*" || namespace == pod.namespace,
            _ => {}
        }
    }
    if is_possible { Selection::Possible } else { Selection::Free }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, name: &str, uid: &str) -> Pod {
        Pod { namespace: namespace.into(), name: name.into(), uid: uid.into() }
    }

    #[test]
    fn read_knows_pods_and_where_policies_reach() {
        let text = "bpfleet-cni 1\npod shop web u1 selected\npod shop db - free\nreach shop\n";
        assert_eq!(read(text, &pod("shop", "web", "u1")), Selection::Selected);
        assert_eq!(read(text, &pod("shop", "web", "")), Selection::Selected);
        assert_eq!(read(text, &pod("shop", "db", "u2")), Selection::Free);
        assert_eq!(read(text, &pod("shop", "web", "other")), Selection::Possible);
        assert_eq!(read(text, &pod("shop", "new", "u9")), Selection::Possible);
        assert_eq!(read(text, &pod("office", "new", "u9")), Selection::Free);
        assert_eq!(read("bpfleet-cni 1\nreach *\n", &pod("office", "new", "u9")), Selection::Possible);
        assert_eq!(read("bpfleet-cni 2\nreach *\n", &pod("office", "new", "u9")), Selection::Unwritten);
        assert_eq!(read("", &pod("office", "new", "")), Selection::Unwritten);
    }
}
