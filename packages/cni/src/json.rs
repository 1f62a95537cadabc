//! JSON with the place of every value in its text, so that texts can be passed on and changed byte for byte.

use std::ops::Range;

/// Deeper texts are no network configuration.
const DEEPEST: usize = 64;

#[derive(Debug)]
pub struct Node {
    pub value: Value,
    /// Where it stands in the text.
    pub at: Range<usize>,
}

#[derive(Debug)]
pub enum Value {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Text(String),
    /// As it is written.
    Number(String),
    /// true, false or null.
    Word,
}

impl Node {
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, node)| node),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<u64> {
        match &self.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Node::text)
    }
}

/// `Err` names the byte at which the text is no JSON.
pub fn parse(text: &str) -> Result<Node, String> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    let node = reader.value(0)?;
    reader.space();
    if reader.at == text.len() { Ok(node) } else { Err(reader.wrong("the end")) }
}

/// A string as JSON writes it.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for each in text.chars() {
        match each {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            each if (each as u32) < 0x20 => quoted.push_str(&format!("\\u{:04x}", each as u32)),
            each => quoted.push(each),
        }
    }
    quoted.push('"');
    quoted
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, wanted: &str) -> String {
        format!("byte {}: {wanted} was expected", self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn value(&mut self, depth: usize) -> Result<Node, String> {
        if depth > DEEPEST {
            return Err(format!("byte {}: it is nested too deeply", self.at));
        }
        self.space();
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return Err(self.wrong("a value")),
        };
        Ok(Node { value, at: start..self.at })
    }

    fn word(&mut self, word: &str) -> Result<Value, String> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("a value"));
        }
        self.at += word.len();
        Ok(Value::Word)
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let text = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        if text.parse::<f64>().is_err() {
            return Err(format!("byte {start}: a number was expected"));
        }
        Ok(Value::Number(text))
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut fields = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Value::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name in quotes"));
            }
            let name = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err(self.wrong("a colon"));
            }
            fields.push((name, self.value(depth + 1)?));
            self.space();
            if self.take(b'}') {
                return Ok(Value::Object(fields));
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma or }"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma or ]"));
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None | Some(0..=0x1f) => return Err(self.wrong("the end of a string")),
                Some(b'"') => {
                    self.at += 1;
                    return String::from_utf8(bytes).map_err(|_| self.wrong("text in UTF-8"));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let each = self.escaped()?;
                    bytes.extend_from_slice(each.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(byte) => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let byte = self.peek().ok_or_else(|| self.wrong("an escape"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(self.wrong("the second half of a character"));
                }
                let second = self.unit()?;
                let code = 0x10000 + ((first - 0xd800) << 10) + (second.wrapping_sub(0xdc00) & 0x3ff);
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.wrong("an escape")),
        })
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let unit = digits.filter(|digits| digits.bytes().all(|each| each.is_ascii_hexdigit()));
        let unit = unit.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or_else(|| self.wrong("four hex digits"))?;
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_says_where_values_stand() {
        let text = r#" {"a": [1, {"b": "x\u00e9\ud83d\ude00\n"}], "n": null, "t": true} "#;
        let node = parse(text).unwrap();
        let items = node.get("a").unwrap().items().unwrap();
        assert_eq!(&text[items[0].at.clone()], "1");
        assert_eq!(&text[items[1].at.clone()], r#"{"b": "x\u00e9\ud83d\ude00\n"}"#);
        assert_eq!(items[1].text_of("b"), Some("xé😀\n"));
        assert_eq!(items[0].number(), Some(1));
        assert_eq!(&text[node.at.clone()], text.trim());
    }

    #[test]
    fn parse_refuses_what_is_no_json() {
        let deep = "[".repeat(100);
        for text in ["", "{", "[1,]", "{\"a\" 1}", "\"a", "1 2", "nul", "{a:1}", "\"\\x\"", "\"\\ud800\"", "-", deep.as_str()] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quote_is_read_back() {
        for text in ["", "a\"b\\c\n\u{1}é😀"] {
            assert_eq!(parse(&quote(text)).unwrap().text(), Some(text));
        }
    }
}
