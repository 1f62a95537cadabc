//! One question to the daemon of this node, over its unix socket. Both sides close their half when they have spoken.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::json::parse;

/// Longer answers are none.
const LONGEST_ANSWER: u64 = 64 << 10;

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub is: String,
    pub why: String,
}

/// In no more time than `timeout`, also where the daemon takes the call and says nothing.
pub fn ask(socket: &str, question: String, timeout: Duration) -> Result<Answer, String> {
    let (sender, receiver) = mpsc::channel();
    let path = socket.to_owned();
    thread::spawn(move || {
        let _ = sender.send(talk(&path, &question));
    });
    let failed = |why: String| format!("ask the daemon at {socket}: {why}");
    match receiver.recv_timeout(timeout) {
        Err(_) => Err(failed(format!("no answer within {} ms", timeout.as_millis()))),
        Ok(Err(why)) => Err(failed(why)),
        Ok(Ok(text)) => {
            read(&text).ok_or_else(|| failed("its answer cannot be read; run plug-in and daemon of one version".into()))
        }
    }
}

fn talk(socket: &str, question: &str) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = UnixStream::connect(socket).map_err(said)?;
    stream.write_all(question.as_bytes()).map_err(said)?;
    stream.shutdown(Shutdown::Write).map_err(said)?;
    let mut text = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut text).map_err(said)?;
    Ok(text)
}

fn read(text: &str) -> Option<Answer> {
    let node = parse(text).ok()?;
    Some(Answer { is: node.text_of("is")?.to_owned(), why: node.text_of("why").unwrap_or("").to_owned() })
}
