//! One owner per descriptor, and work off the event loop.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{AsyncTask, ToNapiValue, TypeName};
use napi::{Env, Task};
use napi_derive::napi;

use crate::error::{Failure, Res, check};
use crate::map::Shape;

/// A descriptor. A task that runs keeps it open, so its number cannot become another file's under way.
#[napi]
pub struct Handle {
    fd: Mutex<Option<Arc<OwnedFd>>>,
    pub(crate) shape: Option<Shape>,
}

impl Handle {
    pub fn new(fd: OwnedFd) -> Self {
        Handle { fd: Mutex::new(Some(Arc::new(fd))), shape: None }
    }

    pub fn shared(fd: Arc<OwnedFd>) -> Self {
        Handle { fd: Mutex::new(Some(fd)), shape: None }
    }

    pub fn with_shape(fd: OwnedFd, shape: Shape) -> Self {
        Handle { fd: Mutex::new(Some(Arc::new(fd))), shape: Some(shape) }
    }

    pub fn get(&self, op: &'static str, object: &str) -> Res<Arc<OwnedFd>> {
        self.slot().clone().ok_or_else(|| Failure::closed(op, object))
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[napi]
impl Handle {
    /// The number, or -1 when closed.
    #[napi(getter)]
    pub fn fd(&self) -> i32 {
        self.slot().as_ref().map_or(-1, |fd| fd.as_raw_fd())
    }

    /// Closes on the event loop: for what cannot sleep.
    #[napi]
    pub fn close_now(&self) {
        let fd = self.slot().take();
        drop(fd);
    }

    /// Closes off the event loop: the last descriptor of a link sleeps for milliseconds.
    #[napi]
    pub fn close(&self) -> AsyncTask<Job<()>> {
        let fd = self.slot().take();
        job(move || {
            drop(fd);
            Ok(())
        })
    }
}

/// Takes what a call answered: a descriptor to own, or an error.
pub fn own(ret: RawFd, op: &'static str, object: impl Into<String>) -> Res<OwnedFd> {
    let fd = check(ret, op, object)?;
    // SAFETY: the kernel has just given this descriptor to us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A second descriptor of the same file, closed on exec.
pub fn duplicate(fd: RawFd, op: &'static str, object: &str) -> Res<OwnedFd> {
    // SAFETY: plain system call.
    own(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) }, op, object)
}

pub fn c_string(text: &str, op: &'static str, object: &str) -> Res<CString> {
    CString::new(text).map_err(|_| Failure::invalid(op, object, "a NUL byte in a name or path"))
}

/// One run on Node's thread pool.
pub struct Job<T>(Option<Box<dyn FnOnce() -> Res<T> + Send>>);

pub fn job<T>(run: impl FnOnce() -> Res<T> + Send + 'static) -> AsyncTask<Job<T>>
where
    T: ToNapiValue + TypeName + Send + 'static,
{
    AsyncTask::new(Job(Some(Box::new(run))))
}

impl<T: ToNapiValue + TypeName + Send + 'static> Task for Job<T> {
    type Output = T;
    type JsValue = T;

    fn compute(&mut self) -> napi::Result<T> {
        match self.0.take() {
            Some(run) => Ok(run()?),
            None => Err(napi::Error::from_reason("a job runs once")),
        }
    }

    fn resolve(&mut self, _: Env, output: T) -> napi::Result<T> {
        Ok(output)
    }
}

/// What a descriptor is, by the name the kernel gives its inode.
#[derive(Clone, Copy)]
pub enum Kind {
    Program,
    Map,
    Link,
}

/// Refuses a descriptor of another kind: the kernel's info call would fill the wrong struct without an error.
pub fn expect_kind(fd: &OwnedFd, kind: Kind, op: &'static str, object: &str) -> Res<()> {
    let (words, name): (&[&str], _) = match kind {
        Kind::Program => (&["bpf-prog"], "program"),
        Kind::Map => (&["bpf-map"], "map"),
        Kind::Link => (&["bpf_link", "bpf-link"], "link"),
    };
    let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) else { return Ok(()) };
    let target = target.to_string_lossy();
    if words.iter().any(|word| target.contains(word)) {
        return Ok(());
    }
    Err(Failure::invalid(op, object, format!("not a {name} but {target}")))
}
