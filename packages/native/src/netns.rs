//! Work inside another network namespace, always on a thread of its own.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use napi_derive::napi;

use crate::error::{Failure, Res, check};
use crate::handle::{Handle, c_string, own};

#[napi]
pub fn open_netns(path: String) -> napi::Result<Handle> {
    Ok(Handle::new(open_path(&path, "open", &format!("network namespace {path}"))?))
}

pub fn open_path(path: &str, op: &'static str, object: &str) -> Res<OwnedFd> {
    let path = c_string(path, op, object)?;
    // SAFETY: the path is NUL-terminated.
    own(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }, op, object)
}

/// Runs a closure in a namespace. A thread's namespace cannot be trusted afterwards, so the thread is thrown away;
/// what the closure opened works from anywhere.
pub fn within<T: Send>(netns: Option<Arc<OwnedFd>>, run: impl FnOnce() -> Res<T> + Send) -> Res<T> {
    let Some(netns) = netns else { return run() };
    let enter = move || {
        // SAFETY: plain system call on a descriptor we hold.
        check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) }, "enter", "network namespace")?;
        run()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("bpfleet-netns".into()).spawn_scoped(scope, enter);
        let thread = thread.map_err(|error| Failure::new("start", "thread", error.raw_os_error().unwrap_or(libc::EAGAIN)))?;
        thread.join().unwrap_or_else(|_| Err(Failure::invalid("run", "thread", "it ended early")))
    })
}

/// The descriptor of an optional namespace argument.
pub fn descriptor(netns: Option<&Handle>) -> Res<Option<Arc<OwnedFd>>> {
    netns.map(|netns| netns.get("enter", "network namespace")).transpose()
}
