//! Adds the plug-in to the text of a network configuration, and takes it out again, leaving every other byte as it is.

use crate::json::{Node, parse};

pub const PLUGIN: &str = "bpfleet-cni";
/// Those in which a plug-in is handed what the one before it did.
pub const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The text of a list of plug-ins with `entry` at its end, or in the place of an earlier one of ours.
pub fn add(text: &str, entry: &str) -> Result<String, String> {
    let list = parse(text)?;
    check_version(&list)?;
    let plugins = plugins_of(&list)?;
    if let Some(own) = plugins.iter().find(|each| is_own(each)) {
        return Ok(format!("{}{entry}{}", &text[..own.at.start], &text[own.at.end..]));
    }
    let last = plugins.last().ok_or("there is no plug-in in it")?;
    // As the last one stands in the text: on a line of its own, or after a space, or after nothing.
    let before = &text[..last.at.start];
    let gap = &before[before.trim_end_matches([' ', '\t', '\r', '\n']).len()..];
    Ok(format!("{},{gap}{entry}{}", &text[..last.at.end], &text[last.at.end..]))
}

/// The text without our plug-in; `None`: it is not in it.
pub fn remove(text: &str) -> Option<String> {
    let list = parse(text).ok()?;
    let plugins = plugins_of(&list).ok()?;
    let at = plugins.iter().position(is_own)?;
    let own = &plugins[at].at;
    let cut = match (at.checked_sub(1).map(|before| &plugins[before].at), plugins.get(at + 1)) {
        (Some(before), _) => before.end..own.end,
        (None, Some(after)) => own.start..after.at.start,
        (None, None) => own.clone(),
    };
    Some(format!("{}{}", &text[..cut.start], &text[cut.end..]))
}

/// A list of plug-ins that starts with the only one of a configuration without a list.
pub fn begin(text: &str, entry: &str) -> Result<String, String> {
    let only = parse(text)?;
    check_version(&only)?;
    let field = |name: &str| only.get(name).map(|node| &text[node.at.clone()]).ok_or(format!("it has no {name}"));
    field("type")?;
    Ok(format!(
        "{{\"cniVersion\":{},\"name\":{},\"plugins\":[{},{entry}]}}\n",
        field("cniVersion")?,
        field("name")?,
        &text[only.at.clone()]
    ))
}

fn plugins_of(list: &Node) -> Result<&[Node], String> {
    list.get("plugins").and_then(Node::items).ok_or("it has no list of plug-ins".into())
}

fn is_own(plugin: &Node) -> bool {
    plugin.text_of("type") == Some(PLUGIN)
}

fn check_version(configuration: &Node) -> Result<(), String> {
    let version = configuration.text_of("cniVersion").unwrap_or("0.1.0");
    if VERSIONS.contains(&version) {
        return Ok(());
    }
    Err(format!("its cniVersion is {version}, in which plug-ins are not chained; set 0.4.0, 1.0.0 or 1.1.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"type":"bpfleet-cni","socket":"/s"}"#;

    #[test]
    fn remove_gives_back_what_add_was_given() {
        let texts = [
            r#"{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"bridge"}]}"#,
            "{\n  \"cniVersion\": \"0.4.0\",\n  \"plugins\": [\n    {\n      \"type\": \"ptp\"\n    },\n    {\"type\": \"portmap\"}\n  ]\n}\n",
            "\t{\"plugins\" : [ {\"type\":\"a\"} , {\"type\":\"b\", \"x\":[1,{}]}\r\n ] ,\"cniVersion\":\"1.1.0\"}  ",
        ];
        for text in texts {
            let added = add(text, ENTRY).unwrap();
            let list = parse(&added).unwrap();
            let plugins = plugins_of(&list).unwrap();
            assert_eq!(&added[plugins.last().unwrap().at.clone()], ENTRY);
            assert_eq!(remove(&added).as_deref(), Some(text));
            assert_eq!(add(&added, ENTRY).as_ref(), Ok(&added));
        }
    }

    #[test]
    fn add_replaces_an_earlier_entry_where_it_stands() {
        let text = r#"{"cniVersion":"1.0.0","plugins":[{"type":"a"},{"type":"bpfleet-cni","old":1},{"type":"b"}]}"#;
        let added = add(text, ENTRY).unwrap();
        assert_eq!(added, text.replace(r#"{"type":"bpfleet-cni","old":1}"#, ENTRY));
        assert_eq!(remove(&added).unwrap(), r#"{"cniVersion":"1.0.0","plugins":[{"type":"a"},{"type":"b"}]}"#);
    }

    #[test]
    fn add_refuses_what_cannot_be_a_chain() {
        for text in [
            r#"{"cniVersion":"0.2.0","plugins":[{"type":"a"}]}"#,
            r#"{"plugins":[{"type":"a"}]}"#,
            r#"{"cniVersion":"1.0.0","plugins":[]}"#,
            r#"{"cniVersion":"1.0.0","type":"a"}"#,
            "no json",
        ] {
            assert!(add(text, ENTRY).is_err(), "{text}");
            assert_eq!(remove(text), None);
        }
    }

    #[test]
    fn begin_makes_a_list_of_a_single_plugin() {
        let text = "{\n \"cniVersion\": \"0.3.1\", \"name\": \"n\", \"type\": \"bridge\" }\n";
        let list = begin(text, ENTRY).unwrap();
        let node = parse(&list).unwrap();
        assert_eq!(node.text_of("cniVersion"), Some("0.3.1"));
        assert_eq!(node.text_of("name"), Some("n"));
        assert_eq!(plugins_of(&node).unwrap().len(), 2);
        assert!(list.contains(text.trim()));
        assert!(begin(r#"{"cniVersion":"0.3.1","type":"bridge"}"#, ENTRY).is_err());
    }
}
